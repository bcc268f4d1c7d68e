"""A scripted upstream that has the APIs which pass through: images, audio, files, batches, realtime."""

import base64
import hashlib
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import UPSTREAM_KEY

MODELS = ["gpt-image-1", "tts-1", "whisper-1", "omni-moderation-latest", "gpt-realtime"]
AUDIO = bytes(range(256)) * 2000
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "validating",
    "created_at": 1,
}


def file_object(size):
    return {"id": "file-1", "object": "file", "bytes": size, "created_at": 1, "filename": "a.jsonl", "purpose": "batch", "status": "processed"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _body(self):
        if length := self.headers.get("content-length"):
            return self.rfile.read(int(length))
        body = b""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    def _reply(self, content, kind="application/json", **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _serve(self):
        body = self._body()
        path, _, query = self.path.partition("?")
        self.server.seen.append({"method": self.command, "path": path, "query": query, "headers": dict(self.headers), "body": body})
        assert self.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        match self.command, path.removeprefix("/v1/").split("/"):
            case "GET", ["models"]:
                self._reply({"object": "list", "data": [{"id": model, "object": "model"} for model in MODELS]})
            case "GET", ["realtime"]:
                self._realtime()
            case "POST", ["images", "generations"] if json.loads(body).get("stream"):
                partial = {"type": "image_generation.partial_image", "b64_json": "aGk=", "partial_image_index": 0}
                done = {"type": "image_generation.completed", "b64_json": "aGk=", "usage": {"total_tokens": 3}}
                events = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (partial, done))
                self._reply("".join(events).encode(), "text/event-stream")
            case "POST", ["images", _]:
                self._reply({"created": 1, "data": [{"b64_json": "aGk="}], "usage": {"total_tokens": 3}})
            case "POST", ["audio", "speech"]:
                self._reply(AUDIO, "audio/mpeg")
            case "POST", ["audio", _]:
                self._reply({"text": "hello", "usage": {"type": "duration", "seconds": 3}})
            case "POST", ["moderations"]:
                self._reply({"id": "modr-1", "model": json.loads(body).get("model", "default"), "results": []})
            case "POST", ["files"]:
                self._reply(file_object(len(body)))
            case "GET", ["files"]:
                self._reply({"object": "list", "data": [file_object(1)], "has_more": False})
            case "GET", ["files", _]:
                self._reply(file_object(1))
            case "DELETE", ["files", name]:
                self._reply({"id": name, "object": "file", "deleted": True})
            case "GET", ["files", _, "content"]:
                self._reply(AUDIO, "application/octet-stream", **{"content-disposition": 'attachment; filename="a.jsonl"'})
            case "GET", ["batches"]:
                self._reply({"object": "list", "data": [BATCH], "has_more": False})
            case _, ["batches", *rest]:
                self._reply(BATCH | {"status": "cancelling" if "cancel" in rest else "validating"})
            case _:
                self.send_error(404)

    do_GET = do_POST = do_DELETE = _serve

    def _realtime(self):
        """Says hello, echoes each text as a `response.done`, and closes with 4000 when told to."""
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(self.headers["sec-websocket-key"].encode() + guid).digest())
        self.send_response(101)
        for name, value in {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept.decode()}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        self._frame(1, json.dumps({"type": "session.created", "event_id": "e1", "session": {"type": "realtime"}}).encode())
        while (frame := self._frame_in()) is not None:
            opcode, payload = frame
            if opcode == 8:
                return self._frame(8, payload)
            if opcode != 1:
                continue
            if json.loads(payload)["type"] == "input_audio_buffer.clear":
                return self._frame(8, struct.pack("!H", 4000) + b"enough")
            response = {"id": "r1", "object": "realtime.response", "status": "completed", "usage": {"total_tokens": 5}}
            self._frame(1, json.dumps({"type": "response.done", "event_id": "e2", "response": response}).encode())

    def _frame(self, opcode, payload):
        length = struct.pack("!B", len(payload)) if len(payload) < 126 else struct.pack("!BH", 126, len(payload))
        self.wfile.write(bytes([0x80 | opcode]) + length + payload)

    def _frame_in(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.rfile.read(2))
        mask, payload = self.rfile.read(4), self.rfile.read(length)
        return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class PassthroughUpstream:
    def __init__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.seen = self.seen = []
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
