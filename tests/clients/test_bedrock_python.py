"""Amazon's own library as a judge: it says whether the gateway's requests are signed, and what the frames say that it reads."""

import json
import struct
import zlib
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

import openai
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from golden import GOLDEN, transcripts
from harness import ALICE, Gateway, Served

REGION = "eu-west-1"
CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "lent/token+canary==")
PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x"
ASK = [{"role": "user", "content": "Grüße 風"}]
# What the Rust tests' own writer makes, see `a_frame_has_its_bytes` in crates/testkit.
RUST_FRAME = (
    "000000760000005296d5fade0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d74797065070010"
    "6170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a22617373697374616e74"
    "227d6fa8c599"
)


def frame(kind, name, payload):
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    block = b"".join(struct.pack(">B", len(k)) + k.encode() + struct.pack(">BH", 7, len(v)) + v.encode() for k, v in headers.items())
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return message + struct.pack(">I", zlib.crc32(message))


def frames(name):
    """The bytes of a golden transcript."""
    blocks = (GOLDEN / "bedrock" / f"{name}.frames").read_text().strip().split("\n\n")
    heads_and_payloads = (block.split("\n", 1) for block in blocks)
    return b"".join(frame(*head.split(" "), payload.encode()) for head, payload in heads_and_payloads)


def read_by_botocore(data):
    """Type and payload of each event, as Amazon's library reads them."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    messages = [message.to_response_dict() for message in buffer]
    return [(m["headers"].get(":event-type") or m["headers"][":exception-type"], json.loads(m["body"])) for m in messages]


def signature_of(handler, body):
    """What Amazon's library signs the request with that came."""
    signed = handler.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    host = handler.headers["host"]
    request = AWSRequest("POST", f"http://{host}{handler.path}", {name: handler.headers[name] for name in signed}, body)
    request.context["timestamp"] = handler.headers["x-amz-date"]
    signer = SigV4Auth(CREDENTIALS, "bedrock", REGION)
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


class Bedrock(Served):
    """Answers with the golden transcript that a model's name is, and only who signs as Amazon wants it."""

    def __init__(self):
        self.calls, bedrock = [], self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                bedrock.calls.append((self.path, dict(self.headers), json.loads(body)))
                if not self.headers["authorization"].endswith(f"Signature={signature_of(self, body)}"):
                    message = "The request signature we calculated does not match the signature you provided."
                    return self.reply(403, "application/json", json.dumps({"message": message}).encode())
                _, _, model, what = self.path.split("/")
                name = "text" if unquote(model) == PROFILE else unquote(model)
                if what == "converse-stream":
                    return self.reply(200, "application/vnd.amazon.eventstream", frames(name))
                self.reply(200, "application/json", (GOLDEN / "bedrock" / f"{name}.json").read_bytes())

            def reply(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("x-amzn-RequestId", "0c4f1f2e-request")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__(Handler)


BROKEN = ("cut", "throttled_midstream", "model_error_midstream", "throttled_first", "validation_first")
STREAMS = [name for name in transcripts("bedrock", ".frames") if name not in BROKEN]


@pytest.fixture(scope="module")
def bedrock():
    with Bedrock() as bedrock:
        yield bedrock


def serve(directory, bedrock, secret):
    config = directory / "everstream.toml"
    upstream = f'[[upstreams]]\nname = "aws"\nbase_url = "{bedrock.root}"\ndialect = "bedrock"\n'
    config.write_text(upstream + f"models = {json.dumps([*STREAMS, *BROKEN, PROFILE])}\n")
    env = {"AWS_ACCESS_KEY_ID": CREDENTIALS.access_key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": CREDENTIALS.token}
    return Gateway(directory, "http://127.0.0.1:1", EVERSTREAM_CONFIG=str(config), AWS_REGION=REGION, AWS_BEARER_TOKEN_BEDROCK="", **env)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, bedrock):
    gateway = serve(tmp_path_factory.mktemp("bedrock"), bedrock, CREDENTIALS.secret_key)
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=gateway.url, api_key=ALICE, max_retries=0) as client:
        yield client


def test_amazons_library_reads_the_frames_of_the_rust_tests():
    (event,) = read_by_botocore(bytes.fromhex(RUST_FRAME))
    assert event == ("messageStart", {"role": "assistant"})
    broken = bytearray.fromhex(RUST_FRAME)
    broken[-6] ^= 1
    with pytest.raises(ChecksumMismatch):
        read_by_botocore(bytes(broken))


@pytest.mark.parametrize("name", STREAMS)
def test_a_client_hears_what_amazons_library_reads(client, name):
    deltas = [event["delta"] for kind, event in read_by_botocore(frames(name)) if kind == "contentBlockDelta"]
    chunks = list(client.chat.completions.create(model=name, messages=ASK, stream=True, stream_options={"include_usage": True}))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(c.delta.content or "" for c in choices) == "".join(d.get("text", "") for d in deltas)
    calls = [call for c in choices for call in c.delta.tool_calls or []]
    if name != "server_tool":
        arguments = "".join(call.function.arguments or "" for call in calls)
        expected = "".join(d.get("toolUse", {}).get("input", "") for d in deltas)
        assert arguments.removesuffix("{}") == expected
    reasoning = "".join(getattr(c.delta, "reasoning_content", None) or "" for c in choices)
    assert reasoning == "".join(d.get("reasoningContent", {}).get("text", "") for d in deltas)
    assert [c.finish_reason for c in choices if c.finish_reason]
    usage = [event["usage"] for kind, event in read_by_botocore(frames(name)) if kind == "metadata"]
    if usage:
        assert chunks[-1].usage.completion_tokens == usage[0]["outputTokens"]


@pytest.mark.parametrize("stream", [True, False])
def test_amazons_library_signs_the_same(client, bedrock, stream):
    answer = client.chat.completions.create(model=PROFILE, messages=ASK, stream=stream)
    text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices) if stream else answer.choices[0].message.content
    assert text == "The wind is up in “Zürich” 風.\n"
    path, headers, body = bedrock.calls[-1]
    assert path.startswith("/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-x/")
    assert headers["x-amz-security-token"] == CREDENTIALS.token and ALICE not in str(headers)
    assert body["messages"] == [{"role": "user", "content": [{"text": ASK[0]["content"]}]}]


def test_a_wrong_key_is_refused_as_amazon_would(tmp_path, bedrock):
    gateway = serve(tmp_path, bedrock, "another-secret")
    try:
        with openai.OpenAI(base_url=gateway.url, api_key=ALICE, max_retries=0) as client:
            with pytest.raises(openai.APIStatusError, match="does not match") as error:
                client.chat.completions.create(model=PROFILE, messages=ASK)
        assert error.value.status_code == 403
        assert "another-secret" not in str(error.value)
    finally:
        gateway.process.stop()


def test_throttling_in_the_middle_is_an_error_of_the_sdk(client):
    heard = []
    with pytest.raises(openai.APIError, match="Too many tokens"):
        for chunk in client.chat.completions.create(model="throttled_midstream", messages=ASK, stream=True):
            heard.append(chunk.choices[0].delta.content or "")
    assert "".join(heard) == "The wi"
    with pytest.raises(openai.RateLimitError, match="Too many requests"):
        client.chat.completions.create(model="throttled_first", messages=ASK, stream=True)
