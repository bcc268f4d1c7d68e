"""A provider that speaks all dialects and never comes to an end: who hears it has to leave."""

import json
import time
from http.server import BaseHTTPRequestHandler

from harness import Served

# Far more than is paid for, and an end for a test that would go on.
TOKENS = 30_000


def chat():
    def chunk(delta):
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    return [chunk({"role": "assistant", "content": ""})], chunk({"content": "a"})


def message():
    usage = {"input_tokens": 1, "output_tokens": 1}
    said = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    begin = [{"type": "message_start", "message": said}, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    return begin, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}


def response():
    at = {"sequence_number": 0, "output_index": 0}
    said = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": []}
    item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    begin = [
        {"type": "response.created", "sequence_number": 0, "response": said},
        {"type": "response.output_item.added", **at, "item": item},
        {"type": "response.content_part.added", **at, "item_id": "msg_1", "content_index": 0, "part": part},
    ]
    return begin, {"type": "response.output_text.delta", **at, "item_id": "msg_1", "content_index": 0, "delta": "a"}


def content():
    said = {"role": "model", "parts": [{"text": "a"}]}
    return [], {"candidates": [{"content": said, "index": 0}], "modelVersion": "m"}


DIALECTS = {"/chat/completions": chat, "/messages": message, "/responses": response, ":streamGenerateContent": content}


class EndlessProvider(Served):
    """Its answers end when their caller hangs up, which is counted in `left`."""

    def __init__(self):
        self.left = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                path = self.path.partition("?")[0]
                begin, token = next(said() for ending, said in DIALECTS.items() if path.endswith(ending))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                try:
                    for event in begin:
                        self.event(event)
                    for _ in range(TOKENS):
                        self.event(token)
                        # A model that is fast, and leaves its readers room for others.
                        time.sleep(0.002)
                except ConnectionError:
                    provider.left += 1

            def event(self, event):
                name = f"event: {event['type']}\n" if "type" in event else ""
                self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())

            def log_message(self, *_):
                pass

        super().__init__(Handler)
