"""The description of the API for operators is proper OpenAPI, as an independent validator reads it."""

import json
import pathlib

from openapi_spec_validator import OpenAPIV31SpecValidator

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_description_is_valid():
    document = json.loads(DOCUMENT.read_text())
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids) > 20


def test_the_validator_finds_what_is_wrong():
    document = json.loads(DOCUMENT.read_text())
    del document["paths"]["/admin/keys/{id}"]["get"]["parameters"]
    assert list(OpenAPIV31SpecValidator(document).iter_errors())
