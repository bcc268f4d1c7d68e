"""Heals cut streams below the SDK: reconnects to the stream's own address and goes on after the last whole event.

    from openai import OpenAI, DefaultHttpxClient
    from everstream_resume import ResumingTransport

    client = OpenAI(http_client=DefaultHttpxClient(transport=ResumingTransport()))

Call sites stay as they are. It serves every SDK built on httpx or httpx2, and touches only replies that carry
`Content-Location: /v1/streams/{id}`.
"""

import asyncio
import importlib
import importlib.util
import random
import re
import sys
import time

# openai 3 is built on httpx2, older releases and other SDKs on httpx: whichever is installed is served.
_HTTPX = [importlib.import_module(name) for name in ("httpx2", "httpx") if importlib.util.find_spec(name)]
_CUTS = tuple(module.TransportError for module in _HTTPX)
_STREAM_PATH = re.compile(r"/v1/streams/[0-9a-z]+")
# The last frame of a stream: OpenAI's chat completions and responses, Anthropic's messages.
_END = re.compile(rb'^(data: (\[DONE\]|\{"error")|event: (error|message_stop|response\.(completed|incomplete|failed))$)', re.MULTILINE)
_LONGEST_PAUSE = 8


# The transports have no base class: SDKs on httpx2 refuse what has one of httpx, and neither asks for one.
class ResumingTransport:
    """A transport around `inner` (a plain `HTTPTransport` if none is given) for `httpx.Client`.

    `tries`: reconnects in a row that may bring nothing new before the error that cut the stream is raised.
    `backoff`: seconds, the longest first pause; pauses are random, and their bound doubles with every try, up to 8 s.
    """

    def __init__(self, inner=None, *, tries=8, backoff=0.25):
        self._inner, self._tries, self._backoff = inner, tries, backoff

    def handle_request(self, request):
        self._inner = self._inner or _library(request).HTTPTransport()
        response = self._inner.handle_request(request)
        if path := _stream_path(response):
            response.stream = _Body(self._inner, response.stream, _Resume(request, path, self._tries, self._backoff))
        return response

    def close(self):
        if self._inner:
            self._inner.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncResumingTransport:
    """The same for `httpx.AsyncClient` on asyncio."""

    def __init__(self, inner=None, *, tries=8, backoff=0.25):
        self._inner, self._tries, self._backoff = inner, tries, backoff

    async def handle_async_request(self, request):
        self._inner = self._inner or _library(request).AsyncHTTPTransport()
        response = await self._inner.handle_async_request(request)
        if path := _stream_path(response):
            resume = _Resume(request, path, self._tries, self._backoff)
            response.stream = _AsyncBody(self._inner, response.stream, resume)
        return response

    async def aclose(self):
        if self._inner:
            await self._inner.aclose()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()


class _Body(*(module.SyncByteStream for module in _HTTPX)):
    def __init__(self, inner, stream, resume):
        self._inner, self._stream, self._resume = inner, stream, resume

    def __iter__(self):
        while True:
            try:
                for chunk in self._stream or self._open():
                    yield self._resume.push(chunk)
                self._resume.broke()
            except _CUTS as error:
                self._resume.broke(error)
            self.close()
            if not self._resume.again():
                return
            time.sleep(self._resume.pause())

    def _open(self):
        response = self._inner.handle_request(self._resume.request())
        self._stream = response.stream
        return response.stream if self._resume.accepts(response) else ()

    def close(self):
        stream, self._stream = self._stream, None
        if stream:
            stream.close()


class _AsyncBody(*(module.AsyncByteStream for module in _HTTPX)):
    def __init__(self, inner, stream, resume):
        self._inner, self._stream, self._resume = inner, stream, resume

    async def __aiter__(self):
        while True:
            try:
                if stream := self._stream or await self._open():
                    async for chunk in stream:
                        yield self._resume.push(chunk)
                self._resume.broke()
            except _CUTS as error:
                self._resume.broke(error)
            await self.aclose()
            if not self._resume.again():
                return
            await asyncio.sleep(self._resume.pause())

    async def _open(self):
        response = await self._inner.handle_async_request(self._resume.request())
        self._stream = response.stream
        return response.stream if self._resume.accepts(response) else None

    async def aclose(self):
        stream, self._stream = self._stream, None
        if stream:
            await stream.aclose()


class _Resume:
    """Where a reader stands in one stream, and whether it may try again. Does no I/O."""

    def __init__(self, request, path, tries, backoff):
        self._first, self._url = request, request.url.join(path)
        self._tries, self._backoff = tries, backoff
        self._failures, self._error, self._ended = 0, None, False
        self._partial, self._id = b"", None

    def push(self, chunk):
        """The frames that are whole with `chunk`. An unfinished one waits, and comes again whole after a cut."""
        searched = max(len(self._partial) - 1, 0)
        self._partial += chunk
        end = self._partial.rfind(b"\n\n", searched) + 2
        if end < 2:
            return b""
        whole, self._partial = self._partial[:end], self._partial[end:]
        self._failures, self._error = 0, None
        if (at := whole.rfind(b"\nid: ")) >= 0:
            self._id = whole[at + 5 : whole.index(b"\n", at + 5)]
        self._ended = bool(_END.search(whole[:-2].rpartition(b"\n\n")[2]))
        return whole

    def broke(self, error=None):
        """The body is over, or there was none. Of several errors in a row the first one counts."""
        self._partial = b""
        message = f"the reply ended before its stream {self._url.path} did"
        self._error = self._error or error or _library(self._first).RemoteProtocolError(message)

    def again(self):
        """False at the end of the stream. Raises what cut it when the tries are spent."""
        if not self._ended and self._failures >= self._tries:
            raise self._error
        return not self._ended

    def pause(self):
        """Seconds to wait before the next try."""
        self._failures += 1
        return random.uniform(0, min(self._backoff * 2 ** (self._failures - 1), _LONGEST_PAUSE))

    def request(self):
        replaced = ("accept", "content-length", "content-type", "last-event-id", "transfer-encoding")
        headers = [(name, value) for name, value in self._first.headers.multi_items() if name not in replaced]
        headers.append(("accept", "text/event-stream"))
        if self._id:
            headers.append(("last-event-id", self._id))
        return type(self._first)("GET", self._url, headers=headers, extensions=self._first.extensions)

    def accepts(self, response):
        """Whether the reply's body goes on with the stream."""
        status = response.status_code
        self._ended = status == 204
        if 400 <= status < 500 and status != 429:
            self._failures = self._tries
        return status == 200 and response.headers.get("content-type", "").startswith("text/event-stream")


def _stream_path(response):
    """The stream's own path, if the reply can be resumed."""
    headers = response.headers
    streamed = response.status_code == 200 and headers.get("content-type", "").startswith("text/event-stream")
    path = headers.get("content-location", "")
    # Compressed bytes cannot be cut at an event; Everstream never compresses.
    return path if streamed and "content-encoding" not in headers and _STREAM_PATH.fullmatch(path) else None


def _library(request):
    """The client's own httpx or httpx2."""
    return sys.modules[type(request).__module__.partition(".")[0]]
