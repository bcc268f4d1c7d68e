"""Google's official Python client, in front of providers of its own dialect and of others."""

import asyncio
import json
import re
import time
import urllib.request

import pytest
from golden import GoldenProvider, transcript, transcripts
from google import genai
from google.genai import errors, types
from harness import ALICE, UPSTREAM_KEY, Gateway
from pydantic import BaseModel

CITY = '{"name": "Bern", "inhabitants": 134000}'
PIXEL = b"\x89PNG\r\n\x1a\n"
MANUAL = types.AutomaticFunctionCallingConfig(disable=True)


class City(BaseModel):
    name: str
    inhabitants: int


def google(parts, **more):
    return {"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}, **more}


def gpt(message, finish="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}


def claude(content, stop="end_turn"):
    return {"id": "msg", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 2}}


def google_weather(body):
    answered = any("functionResponse" in part for content in body["contents"] for part in content["parts"])
    call = {"functionCall": {"name": "temperature", "args": {"city": "Bern"}}, "thoughtSignature": "Af7/c2lnbmVk"}
    return google([{"text": "It is 21."}] if answered else [call])


def gpt_weather(body):
    if body["messages"][-1]["role"] == "tool":
        return gpt({"content": "It is 21."})
    return gpt({"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "temperature", "arguments": '{"city": "Bern"}'}}]}, "tool_calls")


def claude_weather(body):
    if body["messages"][-1]["content"][0]["type"] == "tool_result":
        return claude([{"type": "text", "text": "It is 21."}])
    thinking = {"type": "thinking", "thinking": "hm", "signature": "EqRX+/=="}
    return claude([thinking, {"type": "tool_use", "id": "c1", "name": "temperature", "input": {"city": "Bern"}}], "tool_use")


@pytest.fixture(scope="module")
def providers():
    gemini = {"city": google([{"text": CITY}]), "weather": google_weather, "signed": google([{"text": "hm", "thought": True}, {"text": "Hi.", "thoughtSignature": "Af7/c2lnbmVk"}])}
    openai = {"city": gpt({"content": CITY}), "weather": gpt_weather}
    anthropic = {"city": claude([{"type": "text", "text": CITY}]), "weather": claude_weather, "signed": claude([{"type": "thinking", "thinking": "hm", "signature": "EqRX+/=="}, {"type": "text", "text": "Hi."}])}
    with GoldenProvider("gemini", gemini) as one, GoldenProvider("openai_chat", openai) as two, GoldenProvider("anthropic", anthropic) as three:
        yield {"gemini": one, "openai": two, "anthropic": three}


def start(directory, providers, config=""):
    tables = [f'[[upstreams]]\nname = "{name}"\nbase_url = "{provider.url}"\napi_key = "{UPSTREAM_KEY}"\ndialect = "{name}"\n' for name, provider in providers.items()]
    (directory / "everstream.toml").write_text("\n".join([config, *tables]))
    return Gateway(directory, providers["openai"].url, EVERSTREAM_CONFIG=str(directory / "everstream.toml"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, providers):
    gateway = start(tmp_path_factory.mktemp("gemini"), providers)
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


def connect(root, key=ALICE, **options):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=root, **options))


@pytest.fixture
def client(gateway):
    return connect(gateway.root)


def dump(answer):
    return answer.model_dump(exclude={"sdk_http_response"}, exclude_none=True)


def streamed(client, model, **config):
    return list(client.models.generate_content_stream(model=model, contents="hi", config=config or None))


def said(chunks):
    parts = (part for chunk in chunks if chunk.candidates and chunk.candidates[0].content for part in chunk.candidates[0].content.parts or [])
    return "".join(part.text for part in parts if part.text and not part.thought)


# The SDK cannot read a heartbeat that is written as data, of which the gateway's clients see nothing.
@pytest.mark.parametrize("name", [name for name in transcripts("gemini") if name != "vertex"])
def test_a_stream_of_googles_is_the_one_that_it_sends(client, providers, name):
    direct = connect(providers["gemini"].root, "any")
    direct = [dump(chunk) for chunk in streamed(direct, name)]
    assert [dump(chunk) for chunk in streamed(client, f"gemini/{name}")] == direct
    path, headers, _ = providers["gemini"].calls[-1]
    assert path == f"/v1beta/models/{name}:streamGenerateContent?alt=sse"
    headers = {key.lower(): value for key, value in headers.items()}
    assert headers["x-goog-api-key"] == UPSTREAM_KEY and ALICE not in str(headers)


@pytest.mark.parametrize("name", transcripts("gemini", ".json"))
def test_a_whole_answer_of_googles_is_the_one_that_it_sends(client, providers, name):
    direct = connect(providers["gemini"].root, "any")
    direct = direct.models.generate_content(model=name, contents="hi")
    assert dump(client.models.generate_content(model=f"gemini/{name}", contents="hi")) == dump(direct)


@pytest.mark.parametrize("upstream,name", [(dialect, name) for dialect in ("openai_chat", "anthropic") for name in transcripts(dialect)])
def test_a_stream_of_another_api_is_its_answer(client, upstream, name):
    chunks = streamed(client, f"{upstream.removesuffix('_chat')}/{name}")
    last = chunks[-1]
    assert all(candidate.finish_reason for candidate in last.candidates)
    assert last.usage_metadata.total_token_count > 0
    try:
        whole = json.loads(transcript(upstream, name, ".to_gemini.json"))
    except FileNotFoundError:
        return
    # The same answer was recorded as one body, whose text may be another one.
    assert last.candidates[0].finish_reason.value == whole["candidates"][0]["finishReason"]
    calls = [part["functionCall"]["name"] for part in whole["candidates"][0]["content"]["parts"] if "functionCall" in part]
    assert [call.name for chunk in chunks for call in chunk.function_calls or []] == calls


@pytest.mark.parametrize("upstream,name", [(dialect, name) for dialect in ("openai_chat", "anthropic") for name in transcripts(dialect, ".json")])
def test_a_whole_answer_of_another_api(client, upstream, name):
    answer = client.models.generate_content(model=f"{upstream.removesuffix('_chat')}/{name}", contents="hi")
    whole = json.loads(transcript(upstream, name, ".to_gemini.json"))
    for candidate, expected in zip(answer.candidates, whole["candidates"], strict=True):
        kept = types.Content.model_validate(expected["content"])
        # Ids of calls that have none are made from the answer's.
        for part in [*candidate.content.parts, *kept.parts]:
            if part.function_call:
                part.function_call.id = None
        assert candidate.content == kept
        assert candidate.finish_reason.value == expected["finishReason"]


@pytest.mark.parametrize("upstream", ["gemini", "openai", "anthropic"])
def test_functions_are_called_automatically(client, providers, upstream):
    asked = []

    def temperature(city: str) -> int:
        """The temperature in a city."""
        asked.append(city)
        return 21

    chat = client.chats.create(model=f"{upstream}/weather", config=types.GenerateContentConfig(tools=[temperature]))
    assert chat.send_message("How warm is it?").text == "It is 21."
    assert asked == ["Bern"]
    sent = providers[upstream].calls[-1][2]
    if upstream == "gemini":
        call = sent["contents"][1]["parts"][0]
        assert call["functionCall"]["args"] == {"city": "Bern"}
        assert call["thoughtSignature"].replace("_", "/") == "Af7/c2lnbmVk"
    elif upstream == "openai":
        assert sent["messages"][1]["tool_calls"][0]["id"] == sent["messages"][2]["tool_call_id"] == "c1"
    else:
        assert sent["messages"][1]["content"][0]["signature"] == "EqRX+/=="


def test_a_function_is_called_by_hand_in_a_stream(client):
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="f", parameters_json_schema={"type": "object"})])
    for upstream, name in [("openai", "parallel_tools"), ("anthropic", "parallel_tools")]:
        chunks = list(client.models.generate_content_stream(model=f"{upstream}/{name}", contents="hi", config=types.GenerateContentConfig(tools=[tool], automatic_function_calling=MANUAL)))
        calls = [call for chunk in chunks for call in chunk.function_calls or []]
        assert calls and all(call.id and isinstance(call.args, dict) for call in calls)


SIGNED = [("gemini", "signed"), ("gemini", "signed_text"), ("anthropic", "signed"), ("anthropic", "thinking")]
# The provider streams transcripts of Anthropic's only.
SIGNED = [(*case, stream) for case in SIGNED for stream in (False, True) if (*case, stream) != ("anthropic", "signed", True)]


@pytest.mark.parametrize("upstream,model,stream", SIGNED)
def test_what_a_thought_is_signed_with_comes_back_on_the_next_turn(client, providers, upstream, model, stream):
    chat = client.chats.create(model=f"{upstream}/{model}")
    for text in ["hi", "and then?"]:
        if stream:
            assert said(chat.send_message_stream(text))
        else:
            assert chat.send_message(text).text
    signed = {"gemini": ["Af7/c2lnbmVk"], "anthropic": ["EqRX+/=="]}[upstream] if model == "signed" else re.findall(rb'[sS]ignature": ?"([^"]+)"', transcript(upstream, model, ".sse" if stream else ".json"))
    sent = json.dumps(providers[upstream].calls[-1][2])
    assert signed and "everstream" not in sent and "ZXZlcnN0cmVh" not in sent
    for signature in signed:
        signature = signature if isinstance(signature, str) else signature.decode()
        # The SDK writes bytes in the alphabet for addresses, which Google's API takes as well.
        assert signature in sent or upstream == "gemini" and signature.replace("/", "_").replace("+", "-") in sent


@pytest.mark.parametrize("upstream", ["gemini", "openai", "anthropic"])
def test_structured_output_is_an_object(client, providers, upstream):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    answer = client.models.generate_content(model=f"{upstream}/city", contents="Where?", config=config)
    assert answer.parsed == City(name="Bern", inhabitants=134000)
    sent = providers[upstream].calls[-1][2]
    if upstream == "openai":
        assert sent["response_format"]["json_schema"]["schema"]["properties"]["inhabitants"]["type"] == "integer"
    elif upstream == "anthropic":
        assert sent["output_config"]["format"]["schema"]["properties"]["inhabitants"]["type"] == "integer"


def test_an_image_goes_in(client, providers):
    contents = [types.Part.from_bytes(data=PIXEL, mime_type="image/png"), "What is it?"]
    for upstream in ("gemini", "openai", "anthropic"):
        client.models.generate_content(model=f"{upstream}/text", contents=contents)
        assert "iVBORw0KGgo=" in json.dumps(providers[upstream].calls[-1][2])


def test_settings_reach_the_other_api(client, providers):
    config = types.GenerateContentConfig(system_instruction="Be brief.", temperature=0.5, max_output_tokens=9, stop_sequences=["x"])
    client.models.generate_content(model="openai/text", contents="hi", config=config)
    sent = providers["openai"].calls[-1][2]
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (sent["temperature"], sent["stop"]) == (0.5, ["x"])


def test_tokens_are_counted(client):
    assert client.models.count_tokens(model="gemini/text", contents="hi").total_tokens == 42
    assert client.models.count_tokens(model="openai/text", contents="hi").total_tokens > 0


def test_models_are_listed(client):
    names = [model.name for model in client.models.list()]
    assert "models/city" in names and len(names) > 20
    model = client.models.get(model="openai/text")
    assert model.name == "models/openai/text" and "generateContent" in model.supported_actions


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_either_version_of_the_api_will_do(gateway, version):
    client = connect(gateway.root, api_version=version)
    assert client.models.generate_content(model="openai/text", contents="hi").text
    assert any(model.name == "models/city" for model in client.models.list())


def test_many_at_a_time(gateway):
    async def ask(client, name):
        return [chunk async for chunk in await client.models.generate_content_stream(model=name, contents="hi")]

    async def all_of_them():
        async with connect(gateway.root).aio as client:
            names = ["gemini/text", "openai/text", "anthropic/text"] * 3
            return await asyncio.gather(*(ask(client, name) for name in names))

    for chunks in asyncio.run(all_of_them()):
        assert said(chunks) and chunks[-1].candidates[0].finish_reason.value == "STOP"


def test_errors_have_the_classes_of_the_sdk(client, gateway):
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="no-such/model", contents="hi")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="openai/text", contents="hi", config=types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())]))
    assert (raised.value.code, raised.value.status) == (400, "INVALID_ARGUMENT")
    assert "`tools[0].googleSearch`" in raised.value.message
    with pytest.raises(errors.ClientError) as raised:
        stranger = connect(gateway.root, "wrong")
        stranger.models.generate_content(model="openai/text", contents="hi")
    assert (raised.value.code, raised.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("name", ["error_midstream", "cut"])
@pytest.mark.parametrize("upstream", ["gemini", "openai", "anthropic"])
def test_a_broken_answer_raises_and_is_never_a_short_one(client, upstream, name):
    with pytest.raises(errors.APIError) as raised:
        streamed(client, f"{upstream}/{name}")
    assert raised.value.status and raised.value.message


def test_a_retry_with_the_same_key_is_not_paid_twice(gateway, providers):
    client = connect(gateway.root, headers={"Idempotency-Key": "gemini-once"})
    before = len(providers["gemini"].calls)
    first = said(streamed(client, "gemini/text"))
    again = client.models.generate_content(model="gemini/text", contents="hi")
    assert again.text == first
    assert len(providers["gemini"].calls) == before + 1


def test_heartbeats_are_nothing_to_the_sdk(tmp_path, providers):
    providers["gemini"].answers["slow"] = lambda _: time.sleep(2.5) or google([{"text": "At last."}])
    gateway = start(tmp_path, providers, '[streams]\nheartbeat = "1s"\nhead_hold = "0s"\n')
    try:
        client = connect(gateway.root)
        assert said(streamed(client, "gemini/slow")) == "At last."
        url = f"{gateway.root}/v1beta/models/gemini/slow:streamGenerateContent?alt=sse"
        request = urllib.request.Request(url, b'{"contents": []}', {"x-goog-api-key": ALICE, "content-type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            silence, answer = reply.read().split(b"data: ", 1)
        assert silence.strip(b"\n") == b"" and len(silence) > 1 and answer.endswith(b"\n\n")
    finally:
        assert gateway.process.stop() == 0


def test_an_answer_has_an_address(gateway):
    client = connect(gateway.root)
    chunk = streamed(client, "gemini/text")[0]
    headers = {key.lower(): value for key, value in chunk.sdk_http_response.headers.items()}
    address = f"{gateway.root}{headers['content-location']}"
    request = urllib.request.Request(address, headers={"x-goog-api-key": ALICE, "accept": "text/event-stream"})
    with urllib.request.urlopen(request) as reply:
        assert f"id: {headers['everstream-stream-id']}.1".encode() in reply.read()
