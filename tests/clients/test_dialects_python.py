"""The official Python clients of Anthropic and OpenAI, in front of providers of each other's dialect and of their own."""

import json

import anthropic
import openai
import pytest
from everstream_resume import ResumingTransport
from golden import transcript, transcripts
from harness import ALICE, CuttingProxy
from pydantic import BaseModel

ASK = [{"role": "user", "content": "hi"}]
TOOL = {"name": "f", "description": "Does.", "input_schema": {"type": "object", "properties": {"q": {"type": "integer"}}}}


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
def claude(dialect_gateway):
    with anthropic.Anthropic(base_url=dialect_gateway.root, api_key=ALICE, max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(dialect_gateway):
    with openai.OpenAI(base_url=dialect_gateway.url, api_key=ALICE, max_retries=0) as client:
        yield client


def accumulated(client, model):
    with client.messages.stream(model=model, max_tokens=99, messages=ASK, tools=[TOOL]) as stream:
        events = [event.type for event in stream]
        return events, stream.get_final_message()


def heard(client, model):
    """The accumulated message of a stream that has the API's beginning and end, whatever its provider left out."""
    events, message = accumulated(client, model)
    assert events[0] == "message_start" and events[-1] == "message_stop"
    return message


def dump(message):
    return message.model_dump(exclude_unset=True)


@pytest.mark.parametrize("name", transcripts("anthropic"))
def test_the_accumulated_message_of_an_anthropic_upstream_is_the_one_that_it_sends(claude, goldens, name):
    provider = goldens["anthropic"]
    with anthropic.Anthropic(base_url=provider.root, api_key="any") as direct:
        _, expected = accumulated(direct, name)
    assert dump(heard(claude, f"anthropic/{name}")) == dump(expected)
    path, headers, body = provider.calls[-1]
    assert (path, body["model"]) == ("/v1/messages", name)
    assert headers["x-api-key"] == "sk-ant-canary" and ALICE not in str(headers)


@pytest.mark.parametrize("name", transcripts("openai_chat"))
def test_the_accumulated_message_of_an_openai_upstream_is_its_answer(claude, name):
    message = heard(claude, f"openai/{name}")
    assert message.stop_reason
    try:
        whole = json.loads(transcript("openai_chat", name, ".to_anthropic.json"))
    except FileNotFoundError:
        return
    # The same answer was recorded as one body, whose text may be another one.
    assert [block.type for block in message.content] == [block["type"] for block in whole["content"]]
    assert message.stop_reason == whole["stop_reason"]
    assert message.usage.input_tokens + message.usage.output_tokens > 0


@pytest.mark.parametrize("name", transcripts("openai_chat", ".json"))
def test_a_message_of_an_openai_upstream(claude, name):
    message = claude.messages.create(model=f"openai/{name}", max_tokens=99, messages=ASK)
    whole = json.loads(transcript("openai_chat", name, ".to_anthropic.json"))
    kept = ["content", "stop_reason", "stop_sequence"]
    assert {key: dump(message)[key] for key in kept} == {key: whole[key] for key in kept}


@pytest.mark.parametrize("name", transcripts("anthropic", ".json"))
def test_a_completion_of_an_anthropic_upstream(gpt, name):
    completion = gpt.chat.completions.create(model=f"anthropic/{name}", messages=ASK)
    whole = json.loads(transcript("anthropic", name, ".to_openai_chat.json"))
    choice = dump(completion)["choices"][0]
    assert choice["message"] == whole["choices"][0]["message"]
    assert choice["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert dump(completion)["usage"] == whole["usage"]


# The helper has only this to say to how these end; the error has the answer.
UNPARSED = {"max_tokens": openai.LengthFinishReasonError, "refusal": openai.ContentFilterFinishReasonError}


def completion_of(gpt, name, **options):
    with gpt.chat.completions.stream(model=f"anthropic/{name}", messages=ASK, stream_options={"include_usage": True}, **options) as stream:
        stream.until_done()
        return stream.get_final_completion()


@pytest.mark.parametrize("name", transcripts("anthropic"))
def test_the_streaming_helper_of_openai_accumulates_an_anthropic_upstreams_answer(gpt, name):
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False}}}]
    if name in UNPARSED:
        # With tools it gives up before the usage comes.
        with pytest.raises(UNPARSED[name]) as raised:
            completion_of(gpt, name)
        completion = raised.value.completion
    else:
        completion = completion_of(gpt, name, tools=tools)
    choice = completion.choices[0]
    assert completion.usage.completion_tokens > 0
    try:
        whole = json.loads(transcript("anthropic", name, ".to_openai_chat.json"))["choices"][0]
    except FileNotFoundError:
        return
    assert choice.finish_reason == whole["finish_reason"]
    assert bool(choice.message.content) == bool(whole["message"]["content"])
    called = [call.function.name for call in choice.message.tool_calls or []]
    assert called == [call["function"]["name"] for call in whole["message"].get("tool_calls", [])]


def test_what_only_the_provider_has_is_accumulated_too(gpt):
    fields = completion_of(gpt, "server_tool").choices[0].message.provider_fields["anthropic"]
    assert [(field["index"], field["name"], field["value"]["type"]) for field in fields] == [
        (0, "content_block", "server_tool_use"),
        (1, "content_block_delta", "input_json_delta"),
        (2, "content_block", "web_search_tool_result"),
    ]


def test_parse_gets_its_object_from_an_anthropic_upstream(gpt, goldens):
    completion = gpt.chat.completions.parse(model="anthropic/city", messages=ASK, response_format=City)
    assert completion.choices[0].message.parsed == City(name="Bern", inhabitants=134000)
    sent = goldens["anthropic"].calls[-1][2]
    assert sent["output_config"]["format"]["schema"]["properties"]["inhabitants"]["type"] == "integer"


def test_tools_and_their_results_go_to_the_other_dialect(claude, goldens):
    messages = [*ASK, {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"q": 1}}]}]
    messages += [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "yes"}]}]
    claude.messages.create(model="openai/text", max_tokens=99, messages=messages, tools=[TOOL], system="Be brief.")
    sent = goldens["openai"].calls[-1][2]
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][2]["tool_calls"][0]["id"] == sent["messages"][3]["tool_call_id"] == "c1"
    assert sent["tools"][0]["function"]["parameters"] == TOOL["input_schema"]


@pytest.mark.parametrize(("upstream", "name"), [("anthropic", "get_weather"), ("openai", "lookup")])
def test_the_tool_runner_answers_with_what_the_tool_said(claude, goldens, upstream, name):
    def run(**arguments):
        """Looks."""
        return f"sunny: {sorted(arguments.values())}"

    looks = anthropic.beta_tool(run, name=name, input_schema={"type": "object"})
    # It begins a thread of Anthropic's unasked, and goes on without where it hears that there is none.
    runner = claude.beta.messages.tool_runner(model=f"{upstream}/text_then_tool+text", max_tokens=99, messages=ASK, tools=[looks])
    asked, answered = list(runner)
    assert (asked.stop_reason, answered.stop_reason) == ("tool_use", "end_turn")
    result = str(goldens[upstream].calls[-1][2]["messages"][-1])
    assert "sunny" in result and asked.content[-1].id in result


@pytest.mark.parametrize("name", ["thinking", "redacted_thinking"])
def test_thinking_goes_back_byte_for_byte(claude, goldens, name):
    ask = {"model": f"anthropic/{name}+text", "max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with claude.messages.stream(messages=ASK, **ask) as stream:
        said = stream.get_final_message().content
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "yes"} for block in said if block.type == "tool_use"]
    claude.messages.create(messages=[*ASK, {"role": "assistant", "content": said}, {"role": "user", "content": results or "and then?"}], **ask)
    assert goldens["anthropic"].calls[-1][2]["messages"][1]["content"] == [dump(block) for block in said]


@pytest.mark.parametrize("upstream", ["anthropic", "openai"])
def test_the_resuming_transport_heals_cuts(claude, dialect_gateway, goldens, upstream):
    model = f"{upstream}/text_then_tool"
    expected, before = heard(claude, model), len(goldens[upstream].calls)
    with CuttingProxy(dialect_gateway.port, [700, 800, 900]) as proxy, anthropic.DefaultHttpxClient(transport=ResumingTransport(backoff=0.01)) as client:
        message = heard(anthropic.Anthropic(base_url=proxy.root, api_key=ALICE, max_retries=0, http_client=client), model)
        assert proxy.connections == 4
    assert dump(message) == dump(expected)
    assert len(goldens[upstream].calls) == before + 1


def test_tokens_are_counted(claude):
    assert claude.messages.count_tokens(model="openai/text", messages=ASK).input_tokens > 0


def test_errors_have_the_classes_of_the_sdk(claude, dialect_gateway):
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="no-such/model", max_tokens=9, messages=ASK, extra_headers={"anthropic-version": "2023-06-01"})
    with pytest.raises(anthropic.BadRequestError) as raised:
        claude.messages.create(model="openai/text", max_tokens=9, messages=ASK, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert "`tools[0].type`" in raised.value.body["error"]["message"]
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=dialect_gateway.root, api_key="wrong", max_retries=0).messages.create(model="m", max_tokens=9, messages=ASK)


@pytest.mark.parametrize("model", ["anthropic/error_midstream", "openai/error_midstream", "anthropic/cut", "openai/cut"])
def test_a_broken_answer_raises_and_is_never_a_short_one(claude, gpt, model):
    with pytest.raises(anthropic.APIError):
        with claude.messages.stream(model=model, max_tokens=99, messages=ASK) as stream:
            stream.get_final_message()
    with pytest.raises(openai.APIError):
        for _ in gpt.chat.completions.create(model=model, messages=ASK, stream=True):
            pass


def test_a_retry_with_the_same_key_is_not_paid_twice(claude, goldens):
    keyed = {"extra_headers": {"Idempotency-Key": "messages-once"}}
    ask = {"model": "anthropic/text", "max_tokens": 99, "messages": ASK}
    before = len(goldens["anthropic"].calls)
    with claude.messages.stream(**ask, **keyed) as stream:
        first = stream.get_final_message()
    again = claude.messages.create(**ask, **keyed)
    assert again.content[0].text == first.content[0].text
    assert len(goldens["anthropic"].calls) == before + 1
