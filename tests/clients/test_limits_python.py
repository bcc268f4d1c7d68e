"""OpenAI's SDK finds its limits in the headers it knows."""

import openai
import pytest
from harness import ALICE, Gateway

LIMITS = """
[[rate_limits]]
per = "key"
bounds = ["requests=2/2s", "output-tokens=100000/1h"]
"""
ASK = {"model": "fake", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def limited(tmp_path_factory, running_provider):
    directory = tmp_path_factory.mktemp("limited")
    config = directory / "everstream.toml"
    config.write_text(LIMITS)
    gateway = Gateway(directory, running_provider.url, EVERSTREAM_CONFIG=str(config))
    yield gateway
    assert gateway.process.stop() == 0


def test_what_is_left_is_in_the_headers_that_the_sdk_knows(limited):
    with openai.OpenAI(base_url=limited.url, api_key=ALICE, max_retries=0) as api:
        headers = api.chat.completions.with_raw_response.create(**ASK).headers
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "1"
    assert headers["x-ratelimit-limit-tokens"] == "100000"
    assert headers["x-ratelimit-remaining-tokens"] == "99950"
    assert headers["x-ratelimit-reset-requests"].endswith("s")
