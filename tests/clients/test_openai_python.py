"""The official Python client against the running gateway."""

import asyncio
import json

import openai
import pytest
from everstream_resume import AsyncResumingTransport, ResumingTransport
from harness import ALICE, BOB, CuttingProxy

ASK = [{"role": "user", "content": "hi"}]


def client(url, key=ALICE, **options):
    return openai.OpenAI(base_url=url, api_key=key, **{"max_retries": 0, **options})


@pytest.fixture
def api(gateway):
    with client(gateway.url) as api:
        yield api


def text_of(stream):
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_a_chat_stream_is_the_providers_answer(api, provider):
    expected = provider.text("fake")
    assert text_of(api.chat.completions.create(model="fake", messages=ASK, stream=True)) == expected
    assert provider.calls()["total"] == 1


def test_usage_is_shown_to_those_who_asked(api, provider):
    asked = list(api.chat.completions.create(model="fake", messages=ASK, stream=True, stream_options={"include_usage": True}))
    not_asked = list(api.chat.completions.create(model="fake", messages=ASK, stream=True))
    assert asked[-1].usage.completion_tokens == 20
    assert all(chunk.usage is None for chunk in not_asked)
    assert provider.calls()["total"] == 2


def test_a_chat_answer_that_is_not_streamed(api, provider):
    expected = provider.text("fake")
    answer = api.chat.completions.create(model="fake", messages=ASK)
    assert answer.choices[0].message.content == expected
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 20
    assert provider.calls()["total"] == 1


def test_completions(api, provider):
    whole = api.completions.create(model="fake", prompt="hi")
    streamed = api.completions.create(model="fake", prompt="hi", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == whole.choices[0].text
    assert provider.calls()["by_path"]["/v1/completions"] == 2


def test_embeddings(api, provider):
    answer = api.embeddings.create(model="fake", input=["one", "two"])
    assert [row.index for row in answer.data] == [0, 1]
    assert answer.data[0].embedding != answer.data[1].embedding
    assert provider.calls()["by_path"]["/v1/embeddings"] == 1


def test_models(api, provider):
    assert {"fake", "fake-cut-5"} <= {model.id for model in api.models.list()}


def test_the_reply_names_its_stream_and_the_stream_is_readable(api, provider, called_once):
    raw = api.chat.completions.with_raw_response.create(model="fake", messages=ASK, stream=True)
    text = text_of(raw.parse())
    stream_id = raw.headers["everstream-stream-id"]
    assert raw.headers["content-location"] == f"/v1/streams/{stream_id}"
    replay = api.get(f"/streams/{stream_id}", cast_to=str, options={"headers": {"Accept": "text/event-stream"}})
    chunks = [line[6:] for line in replay.splitlines() if line.startswith("data: ")]
    assert chunks[-1] == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1]]
    assert "".join(deltas) == text


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fake-error-400", openai.BadRequestError),
        ("fake-error-404", openai.NotFoundError),
        ("fake-error-429", openai.RateLimitError),
        ("fake-error-500", openai.InternalServerError),
        ("no-such-model", openai.NotFoundError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_providers_errors_keep_their_class(api, provider, model, error, stream):
    with pytest.raises(error) as raised:
        api.chat.completions.create(model=model, messages=ASK, stream=stream)
    assert raised.value.response.headers["content-type"].startswith("application/json")
    assert raised.value.body["message"]


def test_a_wrong_key_is_an_authentication_error(gateway, provider):
    with pytest.raises(openai.AuthenticationError) as raised:
        client(gateway.url, key="sk-wrong").chat.completions.create(model="fake", messages=ASK)
    assert raised.value.code == "invalid_api_key"
    assert provider.calls()["total"] == 0


def test_a_request_without_a_model_is_a_bad_request(api, provider):
    with pytest.raises(openai.BadRequestError) as raised:
        api.post("/chat/completions", cast_to=object, body={"messages": ASK})
    assert raised.value.param == "model"
    assert provider.calls()["total"] == 0


@pytest.mark.parametrize("model", ["fake-midstream-error-5", "fake-cut-5"])
def test_a_failure_after_content_is_an_error_and_never_a_short_answer(api, provider, called_once, model):
    whole, text = provider.text("fake"), ""
    with pytest.raises(openai.APIError) as raised:
        for chunk in api.chat.completions.create(model=model, messages=ASK, stream=True):
            text += chunk.choices[0].delta.content or ""
            assert chunk.choices[0].finish_reason is None
    assert not isinstance(raised.value, openai.APIConnectionError)
    assert text and whole.startswith(text) and text != whole


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_sdks_own_retry_attaches_to_the_running_answer(gateway, provider, called_once, stream):
    model = "fake-slow-first-1500"
    expected = provider.text(model)
    with CuttingProxy(gateway.port, [0], when=lambda: provider.calls()["total"] == 1) as proxy:
        with client(proxy.url, max_retries=2) as api:
            raw = api.chat.completions.with_raw_response.create(model=model, messages=ASK, stream=stream)
            answer = raw.parse()
            assert (text_of(answer) if stream else answer.choices[0].message.content) == expected
        assert proxy.connections == 2
    assert raw.headers["idempotent-replayed"] == "true"


def test_an_equal_request_that_is_no_retry_is_a_new_answer(api, provider):
    ids = {api.chat.completions.with_raw_response.create(model="fake", messages=ASK).headers["everstream-stream-id"] for _ in "ab"}
    assert len(ids) == 2
    assert provider.calls()["total"] == 2


def test_an_idempotency_key_replays_the_same_answer(api, provider, called_once):
    def ask(**options):
        return api.chat.completions.with_raw_response.create(
            model="fake", messages=ASK, extra_headers={"Idempotency-Key": "order-17"}, **options
        )

    first, again = ask(stream=True), ask(stream=True)
    assert again.headers["everstream-stream-id"] == first.headers["everstream-stream-id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    text = text_of(first.parse())
    assert text_of(again.parse()) == text
    # A streamed answer can be fetched again as one body.
    assert ask().parse().choices[0].message.content == text
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        ask(temperature=0.5)
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_the_same_idempotency_key_of_another_project_is_another_answer(gateway, provider):
    for key in (ALICE, BOB):
        with client(gateway.url, key=key) as api:
            api.chat.completions.create(model="fake", messages=ASK, extra_headers={"Idempotency-Key": "shared"})
    assert provider.calls()["total"] == 2


def test_the_resuming_transport_heals_cuts(gateway, provider, called_once):
    model = "fake-200-2"
    expected = provider.text(model)
    with CuttingProxy(gateway.port, [1500, 4000, 777, 9001]) as proxy:
        http = openai.DefaultHttpxClient(transport=ResumingTransport(backoff=0.01))
        with client(proxy.url, http_client=http) as api:
            assert text_of(api.chat.completions.create(model=model, messages=ASK, stream=True)) == expected
        assert proxy.connections == 5


def test_the_async_resuming_transport_heals_cuts(gateway, provider, called_once):
    model = "fake-200-2"
    expected = provider.text(model)

    async def ask(url):
        http = openai.DefaultAsyncHttpxClient(transport=AsyncResumingTransport(backoff=0.01))
        async with openai.AsyncOpenAI(base_url=url, api_key=ALICE, max_retries=0, http_client=http) as api:
            stream = await api.chat.completions.create(model=model, messages=ASK, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    with CuttingProxy(gateway.port, [1500, 4000]) as proxy:
        assert asyncio.run(ask(proxy.url)) == expected
        assert proxy.connections == 3


def test_many_streams_at_once(gateway, provider):
    async def ask(api):
        stream = await api.chat.completions.create(model="fake", messages=ASK, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    async def ask_all():
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key=ALICE, max_retries=0) as api:
            return await asyncio.gather(*(ask(api) for _ in range(50)))

    expected = provider.text("fake")
    assert asyncio.run(ask_all()) == [expected] * 50
    assert provider.calls()["total"] == 50
