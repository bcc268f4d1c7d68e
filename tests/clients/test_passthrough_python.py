"""The official Python client and the APIs that pass through."""

import io

import openai
import pytest
import websockets
from harness import ALICE, Gateway
from passthrough_upstream import AUDIO, PassthroughUpstream


@pytest.fixture(scope="module")
def upstream():
    upstream = PassthroughUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def behind(tmp_path_factory, upstream):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), upstream.url)
    yield gateway
    assert gateway.process.stop() == 0
    log = gateway.process.log.read_text(errors="replace")
    assert log.count("passed through") > 10
    assert ALICE not in log


@pytest.fixture
def api(behind, upstream):
    upstream.seen.clear()
    with openai.OpenAI(base_url=behind.url, api_key=ALICE, max_retries=0) as api:
        yield api


def test_images(api, upstream):
    answer = api.images.generate(model="openai/gpt-image-1", prompt="a cat")
    assert answer.data[0].b64_json == "aGk="
    assert answer.usage.total_tokens == 3
    assert b'"gpt-image-1"' in upstream.seen[-1]["body"]


def test_images_in_part(api):
    events = list(api.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]


def test_an_image_is_edited(api, upstream):
    image = ("a.png", b"\x89PNG" + bytes(5000), "image/png")
    assert api.images.edit(model="gpt-image-1", image=image, prompt="a hat").data[0].b64_json == "aGk="
    assert image[1] in upstream.seen[-1]["body"]


def test_speech_is_streamed(api):
    with api.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="hi") as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.headers["everstream-upstream"] == "openai"
        assert b"".join(answer.iter_bytes()) == AUDIO


@pytest.mark.parametrize("call", ["transcriptions", "translations"])
def test_a_file_is_transcribed(api, upstream, call):
    sound = io.BytesIO(AUDIO)
    sound.name = "a.wav"
    answer = getattr(api.audio, call).create(model="openai/whisper-1", file=sound)
    assert answer.text == "hello"
    body = upstream.seen[-1]["body"]
    assert AUDIO in body
    assert b'name="model"\r\n\r\nwhisper-1\r\n' in body


def test_moderations(api):
    assert api.moderations.create(input="hi").model == "default"
    assert api.moderations.create(input="hi", model="omni-moderation-latest").model == "omni-moderation-latest"


def test_files(api, upstream):
    lines = b'{"custom_id":"1"}\n' * 1000
    made = api.files.create(file=("a.jsonl", lines), purpose="batch")
    assert lines in upstream.seen[-1]["body"]
    assert [file.id for file in api.files.list(purpose="batch")] == [made.id]
    assert upstream.seen[-1]["query"] == "purpose=batch"
    assert api.files.retrieve(made.id).id == made.id
    assert api.files.content(made.id).read() == AUDIO
    assert api.files.delete(made.id).deleted


def test_batches(api, upstream):
    made = api.batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1")
    assert made.status == "validating"
    named = {"Everstream-Upstream": "openai"}
    assert api.batches.retrieve(made.id, extra_headers=named).id == made.id
    assert [batch.id for batch in api.batches.list()] == [made.id]
    assert api.batches.cancel(made.id).status == "cancelling"
    assert upstream.seen[-1]["path"] == "/v1/batches/batch_1/cancel"


def test_what_is_wrong_is_a_bad_request(api, upstream):
    with pytest.raises(openai.BadRequestError) as raised:
        api.post("/audio/speech", cast_to=object, body={"input": "hi"})
    assert raised.value.param == "model"
    with pytest.raises(openai.BadRequestError) as raised:
        api.files.list(extra_headers={"Everstream-Upstream": "nobody"})
    assert raised.value.param == "Everstream-Upstream"
    assert upstream.seen == []


def test_realtime(api, upstream):
    with api.realtime.connect(model="openai/gpt-realtime") as connection:
        assert connection.recv().type == "session.created"
        connection.response.create()
        assert connection.recv().response.usage.total_tokens == 5
    called = upstream.seen[-1]
    assert (called["path"], called["query"]) == ("/v1/realtime", "model=gpt-realtime")


def test_a_realtime_session_that_the_upstream_closes_has_its_code(api):
    with api.realtime.connect(model="gpt-realtime") as connection:
        connection.recv()
        connection.input_audio_buffer.clear()
        with pytest.raises(websockets.exceptions.ConnectionClosed) as raised:
            connection.recv()
    assert (raised.value.rcvd.code, raised.value.rcvd.reason) == (4000, "enough")
