"""What the official clients, as they come, make of budgets, limits and keys."""

import json
import time
from pathlib import Path

import anthropic
import openai
import pytest
from endless import EndlessProvider
from google import genai
from google.genai import errors, types
from harness import UPSTREAM_KEY, Gateway, wait_until
from test_node import run_suite

ASK = [{"role": "user", "content": "hi"}]
# A dollar for a token of the answer, of which three are reserved at a time.
CONFIG = """
[[prices]]
model = "*"
output = "1000000"

[budgets]
hard_stop = true
output_tokens = 3
"""


class Client:
    """An official client, and the statuses of all answers that it got, with when it got them and were to wait until."""

    def __init__(self, gateway, key, **options):
        self.replies = []
        self.connect(gateway, key["secret"], {"event_hooks": {"response": [self.note]}}, options)

    def note(self, reply):
        now = time.monotonic()
        self.replies.append((reply.status_code, now, now + float(reply.headers.get("retry-after", 0))))

    def statuses(self):
        return [status for status, _, _ in self.replies]

    def refused(self, kind):
        """How it says that it was refused."""
        with pytest.raises(kind) as error:
            self.short("fake/fake")
        return self.code(error.value)


class Chat(Client):
    unpaid, limited = (openai.RateLimitError, "insufficient_quota"), "rate_limit_exceeded"
    unknown, forbidden = (openai.AuthenticationError, "invalid_api_key"), (openai.PermissionDeniedError, "forbidden")

    def connect(self, gateway, secret, http, options):
        self.api = openai.OpenAI(base_url=gateway.url, api_key=secret, http_client=openai.DefaultHttpxClient(**http), **options)

    def short(self, model):
        return self.api.chat.completions.create(model=model, messages=ASK).choices[0].message.content

    def long(self, model):
        chunks = list(self.api.chat.completions.create(model=model, messages=ASK, stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert next(chunk.choices[0].finish_reason for chunk in reversed(chunks) if chunk.choices) == "length"
        return text, chunks[-1].usage.completion_tokens

    def code(self, error):
        return error.code


class Responses(Chat):
    def short(self, model):
        return self.api.responses.create(model=model, input="hi").output_text

    def long(self, model):
        # Its `get_final_response` has nothing but an error for answers that are incomplete, OpenAI's own too.
        with self.api.responses.stream(model=model, input="hi") as stream:
            last = list(stream)[-1]
        answer = last.response
        assert (last.type, answer.status) == ("response.incomplete", "incomplete")
        assert answer.incomplete_details.reason == "max_output_tokens"
        return answer.output_text, answer.usage.output_tokens


class Messages(Client):
    unpaid, limited = (anthropic.RateLimitError, "billing_error"), "rate_limit_error"
    unknown, forbidden = (anthropic.AuthenticationError, "authentication_error"), (anthropic.PermissionDeniedError, "permission_error")

    def connect(self, gateway, secret, http, options):
        self.api = anthropic.Anthropic(base_url=gateway.root, api_key=secret, http_client=anthropic.DefaultHttpxClient(**http), **options)

    def short(self, model):
        return self.api.messages.create(model=model, max_tokens=20, messages=ASK).content[0].text

    def long(self, model):
        # What it asks for is reserved. This provider does not heed it.
        with self.api.messages.stream(model=model, max_tokens=3, messages=ASK) as stream:
            answer = stream.get_final_message()
        assert answer.stop_reason == "max_tokens"
        return answer.content[0].text, answer.usage.output_tokens

    def code(self, error):
        return error.body["error"]["type"]


class Content(Client):
    unpaid, limited = (errors.ClientError, "RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED"
    unknown, forbidden = (errors.ClientError, "UNAUTHENTICATED"), (errors.ClientError, "PERMISSION_DENIED")

    def connect(self, gateway, secret, http, options):
        self.api = genai.Client(api_key=secret, http_options=types.HttpOptions(base_url=gateway.root, client_args=http, **options))

    def short(self, model):
        return self.api.models.generate_content(model=model, contents="hi").text

    def long(self, model):
        chunks = list(self.api.models.generate_content_stream(model=model, contents="hi"))
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
        return "".join(chunk.text or "" for chunk in chunks), chunks[-1].usage_metadata.candidates_token_count

    def code(self, error):
        return error.status


each_sdk = pytest.mark.parametrize("sdk", [Chat, Responses, Messages, Content])
# Each in front of an upstream of its own dialect, and of another.
PAIRS = [(Chat, "openai"), (Chat, "anthropic"), (Responses, "responses"), (Responses, "openai")]
PAIRS += [(Messages, "anthropic"), (Messages, "openai"), (Content, "gemini"), (Content, "openai")]
NODE = ["openai", "responses", "anthropic"]


@pytest.fixture(scope="module")
def endless():
    with EndlessProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, running_provider, endless):
    """Its upstreams are `fake`, and an endless one of each dialect, which has its name."""
    directory = tmp_path_factory.mktemp("admission")
    urls = {dialect: f"{endless.root}/v1" for dialect in ("openai", "responses", "anthropic")}
    urls |= {"gemini": f"{endless.root}/v1beta", "fake": running_provider.url}
    table = '[[upstreams]]\nname = "{name}"\nbase_url = "{url}"\napi_key = "{key}"\ndialect = "{dialect}"\n'
    tables = [table.format(name=name, url=url, key=UPSTREAM_KEY, dialect="openai" if name == "fake" else name) for name, url in urls.items()]
    config = directory / "everstream.toml"
    config.write_text("\n".join([CONFIG, *tables]))
    gateway = Gateway(directory, "", EVERSTREAM_CONFIG=str(config), OPENAI_BASE_URL="", OPENAI_API_KEY="")
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


@pytest.fixture(scope="module")
def purses(gateway):
    """Keys that may cost a dollar each, for each pair and each client in Node, once the gateway has heard of it."""
    keys = {who: gateway.key("pays") for who in [*PAIRS, *NODE, "vercel openai", "vercel anthropic"]}
    for key in keys.values():
        gateway.budget(key, "1")
    nothing = gateway.key("pays")
    gateway.budget(nothing, "0")

    def has_heard():
        try:
            Chat(gateway, nothing).short("fake/fake")
        except openai.RateLimitError:
            return True

    wait_until(has_heard, "the gateway to hear of the budgets")
    return keys


@pytest.mark.parametrize(("sdk", "upstream"), PAIRS)
def test_an_answer_that_outruns_its_budget_is_cut_short_and_the_next_is_refused_once(gateway, endless, purses, sdk, upstream):
    client, left = sdk(gateway, purses[sdk, upstream]), endless.left
    text, tokens = client.long(f"{upstream}/m")
    assert set(text) == {"a"} and tokens >= 3
    wait_until(lambda: endless.left > left, "the provider to be left")
    kind, code = sdk.unpaid
    assert client.refused(kind) == code
    assert client.statuses() == [200, 429]


# Google's repeats only if it is told to, and after times of its own.
PATIENCE = {Content: {"retry_options": types.HttpRetryOptions(attempts=3, initial_delay=2, jitter=0)}}


@each_sdk
def test_who_reached_a_limit_waits_as_long_as_it_is_told_and_gets_its_answer(gateway, provider, sdk):
    client, expected = sdk(gateway, gateway.key("hurries", limits=["requests=1/2s"]), **PATIENCE.get(sdk, {})), provider.text("fake")
    while 429 not in client.statuses():
        assert client.short("fake/fake") == expected
        assert len(client.replies) < 20
    [(_, _, until), (status, at, _)] = client.replies[-2:]
    assert status == 200 and at >= until


@each_sdk
def test_a_key_that_is_revoked_is_none(gateway, sdk):
    key = gateway.key("leaves")
    client = sdk(gateway, key)
    assert client.short("fake/fake")
    gateway.revoke(key)
    kind, code = sdk.unknown
    assert client.refused(kind) == code
    assert client.statuses() == [200, 401]


@each_sdk
def test_a_key_may_ask_the_models_in_its_scopes_alone(gateway, sdk):
    client = sdk(gateway, gateway.key("narrow", models=["fake/fake-1-*"]))
    assert client.short("fake/fake-1-0")
    kind, code = sdk.forbidden
    assert client.refused(kind) == code
    assert client.statuses() == [200, 403]


def test_node(gateway, provider, purses):
    keys = {f"pays {who}": key for who, key in purses.items() if isinstance(who, str)}
    keys |= {f"hurries {who}": gateway.key("hurries", limits=["requests=1/2s"]) for who in NODE}
    keys |= {"revoked": gateway.key("leaves"), "narrow": gateway.key("narrow", models=["fake/fake-1-*"])}
    gateway.revoke(keys["revoked"])
    secrets = json.dumps({who: key["secret"] for who, key in keys.items()})
    suite = Path(__file__).parent / "node/admission/admission.test.mjs"
    run_suite(suite, GATEWAY_PORT=str(gateway.port), KEYS=secrets, UPSTREAM_TEXT=provider.text("fake"))
