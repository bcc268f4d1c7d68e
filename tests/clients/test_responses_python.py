"""The official Python client's responses: in front of a provider of chat completions, one of Anthropic's and one of OpenAI's own."""

import json

import openai
import pytest
from golden import GoldenProvider, transcript, transcripts
from harness import ALICE, BOB, Gateway, wait_until
from pydantic import BaseModel

CITY = '{"name": "Bern", "inhabitants": 134000}'
TOOL = {"type": "function", "name": "weather", "strict": True, "description": "Says it."}
TOOL |= {"parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"], "additionalProperties": False}}
ENDS = ("response.completed", "response.incomplete")


class City(BaseModel):
    name: str
    inhabitants: int


def completion(message, finish="stop"):
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None} | message}
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


@pytest.fixture(scope="module")
def providers():
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Bern"}'}}
    answers = {"city": completion({"content": CITY}), "call": completion({"tool_calls": [call]}, "tool_calls")}
    with GoldenProvider("openai_chat", answers) as chat, GoldenProvider("anthropic") as claude, GoldenProvider("openai_responses") as own:
        yield {"chat": chat, "claude": claude, "own": own}


@pytest.fixture(scope="module")
def golden(tmp_path_factory, providers):
    directory = tmp_path_factory.mktemp("responses")
    dialects = {"chat": "openai", "claude": "anthropic", "own": "responses"}
    upstreams = [
        f'[[upstreams]]\nname = "{name}"\nbase_url = "{providers[name].url}"\ndialect = "{dialect}"\napi_key = "sk-canary"\n'
        for name, dialect in dialects.items()
    ]
    config = directory / "everstream.toml"
    config.write_text("\n".join(upstreams))
    gateway = Gateway(directory, "", EVERSTREAM_CONFIG=str(config), OPENAI_BASE_URL="", OPENAI_API_KEY="")
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


def client(url, key=ALICE):
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0)


@pytest.fixture
def api(gateway):
    """In front of a provider that says 20 tokens, 5 ms apart."""
    with client(gateway.url) as api:
        yield api


@pytest.fixture
def gpt(golden):
    with client(golden.url) as api:
        yield api


def test_a_response_is_the_providers_answer(api, provider):
    expected = provider.text("fake")
    response = api.responses.create(model="fake", input="hi", metadata={"a": "b"}, instructions="Be brief.")
    assert response.output_text == expected
    assert (response.status, response.object, response.model) == ("completed", "response", "fake")
    assert (response.metadata, response.instructions) == ({"a": "b"}, "Be brief.")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 20)
    assert provider.calls()["total"] == 1
    assert api.responses.retrieve(response.id) == response


def test_the_streaming_helper_accumulates_the_response(api, provider):
    expected = provider.text("fake")
    with api.responses.stream(model="fake", input="hi") as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert response.output_text == expected == "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert api.responses.retrieve(response.id).output_text == expected


@pytest.mark.parametrize("after", [None, 0, 7])
def test_events_are_retrieved_after_any_of_them(api, after):
    events = list(api.responses.create(model="fake", input="hi", stream=True))
    response = events[-1].response
    again = api.responses.retrieve(response.id, stream=True, **({} if after is None else {"starting_after": after}))
    assert list(again) == events[0 if after is None else after + 1 :]


def test_the_helper_goes_on_with_a_response_in_the_background(api, provider):
    expected = provider.text("fake-40-20")
    first = []
    for event in api.responses.create(model="fake-40-20", input="hi", stream=True, background=True):
        first.append(event)
        if len(first) == 9:
            break
    response_id = first[0].response.id
    with api.responses.stream(response_id=response_id, starting_after=first[-1].sequence_number) as stream:
        rest = [event.sequence_number for event in stream]
    assert rest[0] == 9
    assert api.responses.retrieve(response_id).output_text == expected
    assert provider.calls()["total"] == 1


def test_a_response_in_the_background_is_polled(api, provider):
    expected = provider.text("fake-20-10")
    response = api.responses.create(model="fake-20-10", input="hi", background=True)
    assert (response.status, response.background, response.output) == ("queued", True, [])
    seen = set()

    def over():
        seen.add((now := api.responses.retrieve(response.id)).status)
        return now.status not in ("queued", "in_progress") and now

    whole = wait_until(over, "the end of the response")
    assert (whole.id, whole.status, whole.output_text) == (response.id, "completed", expected)
    assert seen <= {"queued", "in_progress", "completed"}
    assert provider.calls()["total"] == 1


def test_a_response_is_cancelled(api):
    response = api.responses.create(model="fake-2000-20", input="hi", background=True)
    cancelled = api.responses.cancel(response.id)
    assert (cancelled.id, cancelled.status) == (response.id, "cancelled")
    assert api.responses.retrieve(response.id).status == "cancelled"
    assert api.responses.cancel(response.id) == cancelled
    *_, last = api.responses.retrieve(response.id, stream=True)
    assert (last.type, last.response.status) == ("response.failed", "cancelled")


def test_a_deleted_response_is_gone(api):
    response = api.responses.create(model="fake", input="hi")
    assert api.responses.delete(response.id) is None
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        api.responses.delete(response.id)


def test_a_response_that_is_not_stored_is_not_there(api):
    response = api.responses.create(model="fake", input="hi", store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(response.id)


def test_nobody_else_knows_a_response(api, gateway):
    response = api.responses.create(model="fake", input="hi")
    with client(gateway.url, BOB) as other, pytest.raises(openai.NotFoundError) as raised:
        other.responses.retrieve(response.id)
    assert response.id in raised.value.message
    with client(gateway.url, BOB) as other, pytest.raises(openai.BadRequestError) as raised:
        other.responses.create(model="fake", input="hi", previous_response_id=response.id)
    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")


def test_input_items_are_listed_through_all_pages(api):
    first = api.responses.create(model="fake", input=[{"role": "user", "content": str(n)} for n in range(3)])
    second = api.responses.create(model="fake", input="and then?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    items = list(api.responses.input_items.list(second.id, order="asc", limit=2))
    assert [item.role for item in items] == ["user", "user", "user", "assistant", "user"]
    assert [items[n].content[0].text for n in (0, 1, 2, 4)] == ["0", "1", "2", "and then?"]
    assert items[3].id == first.output[0].id
    newest = next(iter(api.responses.input_items.list(second.id)))
    assert newest.id == items[4].id and len({item.id for item in items}) == 5


def test_errors_have_the_classes_of_the_sdk(api, gateway):
    for model, kind in [("fake-error-400", openai.BadRequestError), ("fake-error-429", openai.RateLimitError), ("fake-error-500", openai.InternalServerError), ("no-such-model", openai.NotFoundError)]:
        for stream in (False, True):
            with pytest.raises(kind) as raised:
                api.responses.create(model=model, input="hi", stream=stream)
            assert raised.value.body["message"]
    with client(gateway.url, "sk-wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.responses.create(model="fake", input="hi")
    with pytest.raises(openai.BadRequestError) as raised:
        api.responses.create(model="fake", input="hi", tools=[{"type": "web_search"}])
    assert raised.value.param == "tools[0].type"


@pytest.mark.parametrize("model", ["fake-cut-5", "fake-midstream-error-5"])
def test_an_answer_that_breaks_off_is_a_response_that_failed(api, model):
    *_, last = events = list(api.responses.create(model=model, input="hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (last.type, last.response.status) == ("response.failed", "failed")
    kept = api.responses.retrieve(last.response.id)
    assert (kept.status, kept.error) == ("failed", last.response.error)
    assert kept.output_text == last.response.output_text != ""


def test_parse_gets_its_object(gpt, providers):
    response = gpt.responses.parse(model="chat/city", input="Which?", text_format=City)
    assert response.output_parsed == City(name="Bern", inhabitants=134000)
    sent = providers["chat"].calls[-1][2]
    assert sent["response_format"]["json_schema"]["schema"]["properties"]["inhabitants"]["type"] == "integer"


def test_a_tool_loop_by_previous_response_id(gpt, providers):
    first = gpt.responses.create(model="chat/call", input="How is it in Bern?", tools=[TOOL], instructions="Be brief.")
    [call] = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"at": "Bern"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = gpt.responses.create(model="chat/text", input=[result], tools=[TOOL], previous_response_id=first.id)
    assert second.output_text
    sent = providers["chat"].calls[-1][2]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == call.call_id
    # The same conversation goes on at a provider of another dialect.
    gpt.responses.create(model="claude/text", input="Thanks.", previous_response_id=second.id)
    sent = providers["claude"].calls[-1][2]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant", "user"]


def same(response):
    return response.model_dump(exclude={"id", "created_at", "upstream_id"})


@pytest.mark.parametrize("name", [name for name in transcripts("openai_responses") if name not in ("failed", "error_event")])
def test_the_providers_own_responses_come_as_they_are(gpt, providers, name):
    with client(providers["own"].url) as direct:
        expected = list(direct.responses.create(model=name, input="hi", stream=True))
    events = list(gpt.responses.create(model=f"own/{name}", input="hi", stream=True))
    assert [event.type for event in events] == [event.type for event in expected]
    assert events[-1].type in ENDS
    assert same(events[-1].response) == same(expected[-1].response)
    assert gpt.responses.retrieve(events[-1].response.id) == events[-1].response
    path, headers, body = providers["own"].calls[-1]
    assert (path, body) == ("/v1/responses", {"model": name, "input": "hi", "stream": True})
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Bearer sk-canary"


@pytest.mark.parametrize("dialect, upstream", [("openai_chat", "chat"), ("anthropic", "claude")])
def test_the_streaming_helper_takes_every_golden_answer(gpt, dialect, upstream):
    for name in transcripts(dialect):
        with gpt.responses.stream(model=f"{upstream}/{name}", input="hi", tools=[TOOL]) as stream:
            events = list(stream)
        assert events[-1].type in ENDS, name
        golden = transcript(dialect, name, ".to_openai_responses.sse").decode()
        kinds = [line.removeprefix("event: ") for line in golden.splitlines() if line.startswith("event: ")]
        assert [event.type for event in events] == kinds, name


def test_its_own_provider_is_told_its_own_id(gpt, providers):
    first = gpt.responses.create(model="own/text", input="hi")
    second = gpt.responses.create(model="own/text", input="more", previous_response_id=first.id)
    assert second.previous_response_id == first.id != second.id
    sent = providers["own"].calls[-1][2]
    assert sent["previous_response_id"] == first.model_extra["upstream_id"]
    assert sent["input"] == "more"
