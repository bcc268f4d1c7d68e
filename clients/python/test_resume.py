"""The transport under the real `openai` SDK, against a scripted server that cuts wherever it is told to."""

import asyncio
import socket
import threading

import httpx
import openai
import pytest
from everstream_resume import AsyncResumingTransport, ResumingTransport

STREAM = "0k3v9f2m7qx4c"
PATH = f"/v1/streams/{STREAM}"
WORDS = ["Naïve", " 日本", " 🦀", " done", "\\n\\nid: 0k3v9f2m7qx4c.99\\n\\n"]


def chunk_json(text):
    return f'{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}'


def frame(seq, data, retry=False):
    return ("retry: 1000\n" * retry + f"data: {data}\nid: {STREAM}.{seq}\n\n").encode()


ANSWER = [frame(n, chunk_json(text), n == 1) for n, text in enumerate(WORDS, 1)] + [frame(len(WORDS) + 1, "[DONE]")]
TEXT = "".join(WORDS).replace("\\n", "\n")
HEARTBEAT = b": ping\n"


class Server:
    """Answers each connection by `script(request) -> (head, body, whole)` and closes; not `whole` is a cut."""

    def __init__(self, script):
        self._script, self.requests = script, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/v1" % self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                method, path, _ = reader.readline().decode().split()
                headers = {}
                while line := reader.readline().strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                reader.read(int(headers.get("content-length", 0)))
                self.requests.append((method, path, headers))
                head, body, whole = self._script(method, headers, len(self.requests))
                chunked = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                connection.sendall(head + chunked + (b"0\r\n\r\n" if whole else b""))


def head(status="200 OK", content_type="text/event-stream", extra=f"Content-Location: {PATH}\r\n"):
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{extra}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ).encode()


def refusal(status):
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode(), b"", False


GONE_BY = refusal("204 No Content")


def rest_after(headers, answer=ANSWER):
    cursor = headers.get("last-event-id")
    if cursor is None:
        return answer
    stream, _, seq = cursor.partition(".")
    assert stream == STREAM
    return answer[int(seq) :]


def gateway(cut_at, answer=ANSWER, heartbeat=b"", cuts=1):
    """A gateway whose first `cuts` replies end after `cut_at` bytes, its chunked coding unfinished."""

    def script(method, headers, count):
        frames = rest_after(headers, answer) if method == "GET" else answer
        if not frames:
            return GONE_BY
        body = heartbeat + heartbeat.join(frames)
        return (head(), body[:cut_at], False) if count <= cuts else (head(), body, True)

    return script


def client(url, **options):
    transport = ResumingTransport(**{"backoff": 0, **options})
    return openai.OpenAI(
        base_url=url, api_key="sk-test", max_retries=0, http_client=openai.DefaultHttpxClient(transport=transport)
    )


def ask(openai_client):
    with openai_client.chat.completions.create(model="m", stream=True, messages=[]) as stream:
        return [chunk.choices[0].delta.content for chunk in stream]


class EveryCut:
    """One server for a run over all cuts: a client per cut would cost most of the time."""

    def __init__(self, heartbeat=b""):
        self.length = len(heartbeat + heartbeat.join(ANSWER))
        self.server = Server(lambda method, headers, count: gateway(self.cut_at, heartbeat=heartbeat)(method, headers, count))

    def cuts(self, step=1):
        for self.cut_at in range(0, self.length + 1, step):
            self.server.requests.clear()
            yield self.cut_at


@pytest.mark.parametrize("heartbeat", [b"", HEARTBEAT], ids=["plain", "heartbeats"])
def test_a_cut_at_any_byte_is_healed(heartbeat):
    run = EveryCut(heartbeat)
    with run.server as server, client(server.url) as api:
        for cut_at in run.cuts():
            assert ask(api) == [word.replace("\\n", "\n") for word in WORDS], f"cut after {cut_at} bytes"
            assert len(server.requests) == (1 if cut_at == run.length else 2), f"cut after {cut_at} bytes"


def test_the_async_transport_heals_the_same_cuts():
    async def ask_at_every_cut(run):
        http = openai.DefaultAsyncHttpxClient(transport=AsyncResumingTransport(backoff=0))
        async with openai.AsyncOpenAI(base_url=run.server.url, api_key="sk-test", max_retries=0, http_client=http) as api:
            for cut_at in run.cuts(step=3):
                stream = await api.chat.completions.create(model="m", stream=True, messages=[])
                text = "".join([chunk.choices[0].delta.content async for chunk in stream])
                assert text == TEXT, f"cut after {cut_at} bytes"

    run = EveryCut()
    with run.server:
        asyncio.run(ask_at_every_cut(run))


def test_a_stream_cut_again_and_again_is_healed_while_it_makes_progress():
    longest = max(map(len, ANSWER))
    with Server(gateway(longest, cuts=100)) as server:
        assert "".join(ask(client(server.url, tries=1))) == TEXT
        assert len(server.requests) >= 3


def test_the_reconnect_is_a_get_of_the_streams_address_with_the_same_key_and_the_last_whole_id():
    with Server(gateway(len(ANSWER[0]) + len(ANSWER[1]) + 9)) as server:
        ask(client(server.url))
        (method, path, first), (again, address, second) = server.requests
    assert (method, path, again, address) == ("POST", "/v1/chat/completions", "GET", PATH)
    assert second["authorization"] == first["authorization"] == "Bearer sk-test"
    assert second["last-event-id"] == f"{STREAM}.2"
    assert second["accept"] == "text/event-stream"
    assert "content-type" not in second and "content-length" not in second


def test_a_clean_end_without_done_asks_once_more_and_204_is_the_end():
    def script(method, headers, count):
        return (head(), b"".join(ANSWER[:-1]), True) if method == "POST" else GONE_BY

    with Server(script) as server:
        assert "".join(ask(client(server.url))) == TEXT
        assert [r[0] for r in server.requests] == ["POST", "GET"]


def test_an_error_event_is_the_end():
    error = frame(2, '{"error":{"message":"cut","type":"server_error","param":null,"code":"upstream_cut"}}')
    with Server(gateway(10**6, answer=[ANSWER[0], error])) as server:
        with pytest.raises(openai.APIError, match="cut"):
            ask(client(server.url))
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "502 Bad Gateway"])
def test_a_passing_refusal_is_tried_again(status):
    def script(method, headers, count):
        return refusal(status) if count == 2 else gateway(300)(method, headers, count)

    with Server(script) as server:
        assert "".join(ask(client(server.url))) == TEXT
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "409 Conflict", "410 Gone"])
def test_a_lasting_refusal_raises_what_cut_the_stream(status):
    def script(method, headers, count):
        return refusal(status) if method == "GET" else gateway(300)(method, headers, count)

    with Server(script) as server:
        with pytest.raises((openai.APIConnectionError, httpx.TransportError)) as raised:
            ask(client(server.url))
        assert "incomplete chunked read" in str(raised.value.__cause__ or raised.value)
        assert len(server.requests) == 2


def test_tries_are_bounded():
    def script(method, headers, count):
        return refusal("503 Service Unavailable") if method == "GET" else gateway(300)(method, headers, count)

    with Server(script) as server:
        with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
            ask(client(server.url, tries=3))
        assert len(server.requests) == 1 + 3


def test_a_reply_without_a_streams_address_is_left_alone():
    for extra in ("", "Content-Location: https://elsewhere.example/v1/streams/0k3v9f2m7qx4c\r\n", "Content-Location: /v1/files/x\r\n"):
        with Server(lambda *_: (head(extra=extra), b"".join(ANSWER)[:300], False)) as server:
            with pytest.raises((openai.APIConnectionError, httpx.TransportError)):
                ask(client(server.url))
            assert len(server.requests) == 1


def test_older_sdks_on_httpx_are_healed_too():
    with Server(gateway(300)) as server:
        http = httpx.Client(transport=ResumingTransport(backoff=0))
        with http.stream("POST", f"{server.url}/chat/completions", json={}) as response:
            body = b"".join(response.iter_raw())
        assert body == b"".join(ANSWER)
        assert len(server.requests) == 2


def test_bytes_reach_the_reader_as_whole_frames_only():
    with Server(gateway(300)) as server:
        with httpx.Client(transport=ResumingTransport(backoff=0)).stream("POST", f"{server.url}/x") as response:
            for piece in response.iter_raw():
                assert piece.startswith((b"data: ", b"retry: ")) and piece.endswith(b"\n\n")
