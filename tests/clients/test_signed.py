"""Signed requests (RFC 9421), by signers that know nothing of Everstream, and by `everstream sign` for curl."""

import json
import os
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import openai
import pytest
from everstream_sign import SigningTransport
from harness import Gateway, binary
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from test_node import run_suite

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hi"}]}).encode()


@pytest.fixture(scope="module")
def signed_gateway(tmp_path_factory, running_provider):
    gateway = Gateway(tmp_path_factory.mktemp("signed"), running_provider.url)
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


@pytest.fixture(scope="module")
def key(signed_gateway):
    """A key, once the gateway knows it."""
    command = [binary("everstream"), "keys", "create", "--url", signed_gateway.operators, "--project", "signs", "--create-project", "--name", "signs"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("EVERSTREAM")}
    key = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()
    deadline = time.monotonic() + 5
    while httpx.get(f"{signed_gateway.root}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code != 200:
        assert time.monotonic() < deadline, "the key is not known within 5 s"
        time.sleep(0.02)
    return key


@pytest.fixture
def sign(signed_gateway, key):
    """The headers of a signed request."""
    _, key_id, secret = key.split("-")

    def sign(method, target, body=None, created=None, nonce=None, covered=("@method", "@authority", "@path")):
        root = signed_gateway.root
        message = SimpleNamespace(method=method, url=root + target, headers={"host": root.removeprefix("http://")})
        keys = MappingKeyResolver(private_keys={key_id: secret.encode()}, public_keys={})
        HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys).sign(
            message, key_id=key_id, nonce=nonce or os.urandom(9).hex(), created=created, body=body, covered_component_ids=covered
        )
        return message.headers | {"content-type": "application/json"}

    return sign


@pytest.fixture
def send(signed_gateway):
    def send(method, target, headers, body=None):
        reply = httpx.request(method, signed_gateway.root + target, headers=headers, content=body)
        return reply.status_code, reply.json().get("error", {}).get("code")

    return send


REPLAYED, INVALID = (401, "request_replayed"), (401, "invalid_signature")


def test_the_sdk_streams_an_answer_with_signed_requests(signed_gateway, key, provider):
    expected = provider.text("fake")
    with openai.OpenAI(base_url=signed_gateway.url, api_key="signed", max_retries=0, http_client=openai.DefaultHttpxClient(transport=SigningTransport(key))) as api:
        stream = api.chat.completions.create(model="fake", messages=[{"role": "user", "content": "hi"}], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == expected
        assert api.models.list().data


@pytest.mark.parametrize("covered", [("@method", "@authority", "@path"), ("@method", "@target-uri"), ("@method", "@authority", "@request-target")])
def test_a_request_is_good_once_however_its_target_is_covered(sign, send, provider, covered):
    headers = sign("POST", CHAT, BODY, covered=covered)
    assert send("POST", CHAT, headers, BODY) == (200, None)
    assert send("POST", CHAT, headers, BODY) == REPLAYED
    assert provider.calls()["total"] == 1


def test_what_was_altered_is_refused(sign, send, provider):
    assert send("POST", CHAT, sign("POST", CHAT, BODY), BODY + b" ") == INVALID
    assert send("POST", CHAT, sign("POST", CHAT, BODY), b"") == INVALID
    assert send("POST", "/v1/embeddings", sign("POST", CHAT, BODY), BODY) == INVALID
    assert send("POST", CHAT + "?x=1", sign("POST", CHAT, BODY), BODY) == INVALID
    assert send("GET", "/v1/models", sign("POST", "/v1/models")) == INVALID
    assert send("POST", CHAT, sign("POST", CHAT), BODY) == INVALID
    assert send("POST", CHAT, sign("POST", CHAT, BODY, covered=("@authority", "@path")), BODY) == INVALID
    assert send("POST", CHAT, sign("POST", CHAT, BODY) | {"host": "another.example"}, BODY) == INVALID
    headers = sign("POST", CHAT, BODY, nonce="one")
    headers["Signature-Input"] = headers["Signature-Input"].replace("one", "two")
    assert send("POST", CHAT, headers, BODY) == INVALID
    assert provider.calls()["total"] == 0


def test_clocks_may_be_apart_a_little(sign, send):
    for ahead, expected in [(20, (200, None)), (60, INVALID), (-290, (200, None)), (-360, INVALID)]:
        headers = sign("GET", "/v1/models", created=datetime.now() + timedelta(seconds=ahead))
        assert send("GET", "/v1/models", headers) == expected, ahead


def test_curl_sends_what_the_command_signed(signed_gateway, key, tmp_path, provider):
    body = tmp_path / "body.json"
    body.write_bytes(BODY)
    (tmp_path / "key").write_text(key + "\n")
    command = [binary("everstream"), "sign", signed_gateway.root + CHAT, "--data", f"@{body}", "--key-file", str(tmp_path / "key")]
    config = subprocess.run(command, check=True, capture_output=True).stdout
    assert key.split("-")[2].encode() not in config

    def curl():
        run = subprocess.run(["curl", "-sS", "--max-time", "30", "-K", "-"], input=config, check=True, capture_output=True)
        return json.loads(run.stdout)

    assert curl()["choices"]
    assert curl()["error"]["code"] == REPLAYED[1]
    assert provider.calls()["total"] == 1


def test_node(signed_gateway, key, provider):
    suite = Path(__file__).parent / "node" / "signed" / "signed.test.mjs"
    run_suite(suite, GATEWAY_PORT=str(signed_gateway.port), SIGNING_KEY=key, UPSTREAM_TEXT=provider.text("fake"))
