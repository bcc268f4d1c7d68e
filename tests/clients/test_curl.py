"""What stands on the wire, seen by curl."""

import json
import re
import subprocess

import pytest
from harness import ALICE, BOB, frames, wait_until

STREAM_ID = r"[0-9a-hjkmnp-tv-z]{13}"


class Reply:
    def __init__(self, output):
        head, _, self.body = output.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture
def curl(gateway):
    def run(path, *options, key=ALICE, body=None):
        command = ["curl", "-sSNi", "--max-time", "30", gateway.root + path, *options]
        command += ["-H", f"Authorization: Bearer {key}"] if key else []
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", body if isinstance(body, str) else json.dumps(body)]
        return Reply(subprocess.run(command, check=True, capture_output=True).stdout)

    return run


def ask(model="fake", **fields):
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}], **fields}


CHAT = "/v1/chat/completions"


@pytest.fixture
def answer(curl, provider):
    return curl(CHAT, body=ask())


def last_event(stream_id, seq):
    return ("-H", f"Last-Event-ID: {stream_id}.{seq}")


def test_the_head_of_a_stream(answer):
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert re.fullmatch(STREAM_ID, answer.headers["everstream-stream-id"])
    assert answer.headers["content-location"] == f"/v1/streams/{answer.headers['everstream-stream-id']}"
    assert "content-length" not in answer.headers and "content-encoding" not in answer.headers


def test_every_frame_ends_with_its_id_and_the_ids_have_no_holes(answer):
    stream_id = answer.headers["everstream-stream-id"]
    got = frames(answer.body)
    assert [frame.fields[-1] for frame in got] == [(b"id", b"%s.%d" % (stream_id.encode(), n)) for n in range(1, len(got) + 1)]
    assert got[0].field(b"retry").isdigit()
    assert all(frame.field(b"retry") is None for frame in got[1:])
    assert got[-1].field(b"data") == b"[DONE]"
    assert all(json.loads(frame.field(b"data")) for frame in got[:-1])


def test_resuming_gives_the_same_bytes_from_every_event_on(curl, provider, answer):
    stream_id, got = answer.headers["everstream-stream-id"], frames(answer.body)
    path = f"/v1/streams/{stream_id}"
    for seq in range(len(got)):
        expected = [frame.raw for frame in got[seq:]]
        for reply in (
            curl(path, *last_event(stream_id, seq)),
            curl(f"{path}?after={seq}", "-H", "Accept: text/event-stream"),
            curl(CHAT, *last_event(stream_id, seq), body="{}"),
        ):
            assert reply.status == 200
            assert [frame.raw for frame in frames(reply.body)] == expected
    assert provider.calls()["total"] == 1


def test_after_the_end_there_is_nothing(curl, provider, answer):
    stream_id, last = answer.headers["everstream-stream-id"], len(frames(answer.body))
    for reply in (
        curl(f"/v1/streams/{stream_id}", *last_event(stream_id, last)),
        curl(f"/v1/streams/{stream_id}?after={last}", "-H", "Accept: text/event-stream"),
        curl(CHAT, *last_event(stream_id, last), body=ask()),
    ):
        assert (reply.status, reply.body) == (204, b"")
    assert provider.calls()["total"] == 1


def test_the_header_beats_the_query(curl, answer):
    stream_id, got = answer.headers["everstream-stream-id"], frames(answer.body)
    reply = curl(f"/v1/streams/{stream_id}?after=1", *last_event(stream_id, 5))
    assert [frame.raw for frame in frames(reply.body)] == [frame.raw for frame in got[5:]]


@pytest.mark.parametrize(
    ("cursor", "status"),
    [("{id}.9999", 409), ("{id}.-1", 400), ("{id}.", 400), ("nonsense", 400), ("0000000000000.1", 400), ("{id}.1234567890123456789", 400)],
)
def test_a_cursor_that_cannot_be_is_refused_and_nothing_is_generated(curl, provider, answer, cursor, status):
    stream_id = answer.headers["everstream-stream-id"]
    header = ("-H", "Last-Event-ID: " + cursor.format(id=stream_id))
    assert curl(f"/v1/streams/{stream_id}", *header).status == status
    if not cursor.startswith("0000"):
        assert curl(CHAT, *header, body=ask()).status == status
    assert provider.calls()["total"] == 1


def test_a_stream_belongs_to_its_project(curl, provider, answer):
    stream_id = answer.headers["everstream-stream-id"]
    unknown = curl("/v1/streams/0000000000000", key=BOB)
    for reply in (
        curl(f"/v1/streams/{stream_id}", key=BOB),
        curl(f"/v1/streams/{stream_id}", *last_event(stream_id, 3), key=BOB),
        curl(CHAT, *last_event(stream_id, 3), key=BOB, body=ask()),
        curl(f"/v1/streams/{stream_id}", "-X", "DELETE", key=BOB),
    ):
        assert reply.status == unknown.status == 404
    assert curl(f"/v1/streams/{stream_id}", key=None).status == 401
    assert provider.calls()["total"] == 1


def test_a_cancelled_answer_stops_the_provider_and_stays_readable(curl, provider, gateway):
    command = ["curl", "-sN", gateway.url + "/chat/completions", "-H", f"Authorization: Bearer {ALICE}", "-d", json.dumps(ask("fake-100000-10"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        line = next(line for line in reader.stdout if line.startswith(b"id: "))
        stream_id = line[4:].split(b".")[0].decode()
        for _ in "ab":
            assert curl(f"/v1/streams/{stream_id}", "-X", "DELETE").status in (200, 202, 204)
        rest = reader.stdout.read()
        assert reader.wait(10) == 0
    assert b"[DONE]" not in rest
    wait_until(lambda: provider.calls()["hangups"] == 1, "the provider to be left")
    replay = curl(f"/v1/streams/{stream_id}", "-H", "Accept: text/event-stream")
    assert replay.status == 200 and b"[DONE]" not in replay.body
    assert provider.calls()["total"] == 1


def test_the_list_of_events_as_json_and_as_lines(curl, provider, answer):
    stream_id, count = answer.headers["everstream-stream-id"], len(frames(answer.body))
    page = curl(f"/v1/streams/{stream_id}", "-H", "Accept: application/json")
    assert page.headers["content-type"].startswith("application/json") and json.loads(page.body)
    lines = curl(f"/v1/streams/{stream_id}", "-H", "Accept: application/x-ndjson")
    assert len([json.loads(line) for line in lines.body.splitlines()]) >= count
    assert provider.calls()["total"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CHAT, "not json", 400, "invalid_json"),
        (CHAT, "{}", 400, "missing_field"),
        ("/v1/nothing", "{}", 404, "route_not_found"),
        (CHAT, None, 405, "method_not_allowed"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(curl, provider, path, body, status, code):
    reply = curl(path, body=body)
    assert reply.status == status
    assert json.loads(reply.body)["error"]["code"] == code
    assert provider.calls()["total"] == 0


def test_probes(curl):
    assert curl("/healthz", key=None).status == 200
    assert curl("/readyz", key=None).status == 200
