"""`langchain-openai` in front of an Anthropic upstream and an OpenAI one."""

import openai
import pytest
from everstream_resume import ResumingTransport
from harness import ALICE, CuttingProxy
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

TEXT = 'Hello! 你好 "q"\n\\ 😀'
UPSTREAMS = pytest.mark.parametrize("upstream", ["anthropic", "openai"])


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


@tool
def get_weather(location: str) -> str:
    """The weather there."""
    return f"sunny in {location}"


@tool
def lookup(q: int) -> str:
    """Looks something up."""
    return f"found {q}"


@pytest.fixture
def chat(dialect_gateway):
    def chat(model, url=dialect_gateway.url, **options):
        return ChatOpenAI(model=model, base_url=url, api_key=ALICE, max_retries=0, stream_usage=True, **options)

    return chat


@UPSTREAMS
def test_a_message_with_its_usage_is_the_same_streamed_and_not(chat, upstream):
    model = chat(f"{upstream}/text")
    whole, chunks = model.invoke("hi"), list(model.stream("hi"))
    assert len(chunks) > 3
    streamed = sum(chunks[1:], chunks[0])
    assert streamed.content == TEXT and whole.content
    for message in (whole, streamed):
        assert message.usage_metadata["input_tokens"] > 0
        assert message.usage_metadata["total_tokens"] == message.usage_metadata["input_tokens"] + message.usage_metadata["output_tokens"]
        assert message.response_metadata["finish_reason"] == "stop"
    assert streamed.usage_metadata["input_token_details"]["cache_read"] > 0


@UPSTREAMS
@pytest.mark.parametrize("streaming", [False, True])
def test_tools_are_called_and_their_results_go_back(chat, goldens, upstream, streaming):
    tools = {"get_weather": get_weather, "lookup": lookup}
    model = chat(f"{upstream}/text_then_tool+text", streaming=streaming).bind_tools(list(tools.values()))
    messages = [HumanMessage("hi")]
    messages.append(asked := model.invoke(messages))
    [call] = asked.tool_calls
    messages.append(result := tools[call["name"]].invoke(call))
    answered = model.invoke(messages)
    assert answered.content and not answered.tool_calls
    sent = goldens[upstream].calls[-1][2]
    last = str(sent["messages"][-1])
    assert result.content in last and call["id"] in last
    assert len(sent["tools"]) == 2


@UPSTREAMS
def test_several_calls_at_once_are_put_together(chat, upstream):
    chunks = list(chat(f"{upstream}/parallel_tools").bind_tools([get_weather, lookup]).stream("hi"))
    calls = sum(chunks[1:], chunks[0]).tool_calls
    assert len({call["id"] for call in calls}) == 2 and all(call["args"] for call in calls)


@UPSTREAMS
@pytest.mark.parametrize("streaming", [False, True])
def test_structured_output(chat, goldens, upstream, streaming):
    city = chat(f"{upstream}/city", streaming=streaming).with_structured_output(City).invoke("hi")
    assert city == City(name="Bern", inhabitants=134000)
    sent = goldens[upstream].calls[-1][2]
    schema = sent["output_config"]["format"]["schema"] if upstream == "anthropic" else sent["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["inhabitants"]["type"] == "integer"


@UPSTREAMS
def test_errors_have_their_classes(chat, upstream):
    for name, error in (("status-429", openai.RateLimitError), ("status-500", openai.InternalServerError), ("no_such", openai.NotFoundError)):
        with pytest.raises(error):
            chat(f"{upstream}/{name}").invoke("hi")
        with pytest.raises(error):
            list(chat(f"{upstream}/{name}").stream("hi"))


@UPSTREAMS
@pytest.mark.parametrize("name", ["cut", "error_midstream"])
def test_a_broken_answer_raises(chat, upstream, name):
    with pytest.raises(openai.APIError):
        list(chat(f"{upstream}/{name}").stream("hi"))


@UPSTREAMS
def test_the_resuming_transport_heals_cuts(chat, dialect_gateway, goldens, upstream):
    before = len(goldens[upstream].calls)
    with CuttingProxy(dialect_gateway.port, [700, 800]) as proxy, openai.DefaultHttpxClient(transport=ResumingTransport(backoff=0.01)) as client:
        chunks = list(chat(f"{upstream}/text", url=proxy.url, http_client=client).stream("hi"))
        assert proxy.connections == 3
    assert sum(chunks[1:], chunks[0]).content == TEXT
    assert len(goldens[upstream].calls) == before + 1
