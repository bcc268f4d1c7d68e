"""A provider that answers with the golden transcripts of `crates/core/tests/golden`, or with what a test gives it."""

import json
import re
from http.server import BaseHTTPRequestHandler

from harness import ROOT, Served

GOLDEN = ROOT / "crates/core/tests/golden"
# Those of answers that are no whole ones.
BROKEN = ["cut", "error_midstream", "error_openrouter", "done_without_finish", "no_candidates"]


def transcripts(dialect, ending=".sse"):
    """The names of all whole answers."""
    names = (path.name.removesuffix(ending) for path in (GOLDEN / dialect).glob(f"*{ending}") if ".to_" not in path.name)
    return sorted(name for name in names if name not in BROKEN)


def transcript(dialect, name, ending):
    return (GOLDEN / dialect / f"{name}{ending}").read_bytes()


def message(text):
    """An answer of Anthropic's."""
    said = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": text}]}
    return said | {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 9}}


def completion(text):
    """An answer of OpenAI's."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def streamed(answer):
    """A `message` or `completion` as a stream of two pieces."""
    if answer.get("type") == "message":
        text = answer["content"][0]["text"]
        events = [{"type": "message_start", "message": answer | {"content": [], "stop_reason": None}}]
        events += [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
        events += [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}} for part in (text[:9], text[9:])]
        events += [{"type": "content_block_stop", "index": 0}]
        events += [{"type": "message_delta", "delta": {"stop_reason": answer["stop_reason"], "stop_sequence": None}, "usage": answer["usage"]}]
        events += [{"type": "message_stop"}]
        return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    choice = answer["choices"][0]
    text = choice["message"]["content"]
    deltas = [{"role": "assistant", "content": text[:9]}, {"content": text[9:]}]
    choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices += [[{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}], []]
    chunks = [answer | {"object": "chat.completion.chunk", "choices": said, "usage": None} for said in choices]
    chunks[-1]["usage"] = answer["usage"]
    return "".join(f"data: {chunk}\n\n" for chunk in [*map(json.dumps, chunks), "[DONE]"]).encode()


class GoldenProvider(Served):
    """Speaks `dialect`, an API of which there are transcripts. A model's name says how it answers.

    - `text`: with this transcript, or with this one of `answers`: a `message` or `completion`, or a body, or what makes
      that of a request, which is streamed as one event.
    - `tool+text`: with the first in the first turn of a conversation, and so on;
      the last one from then on.
    - `text-held`: with all but its last events, and then nothing until the caller leaves, who is then in `left`.
    - `status-429`: with this status, an error of the dialect, and `Retry-After: 1`.
    """

    def __init__(self, dialect, answers=None):
        self.dialect, self.answers, self.calls, self.left = dialect, answers or {}, [], []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/_seen":
                    seen = {"bodies": [body for _, _, body in provider.calls], "left": provider.left}
                    return self.reply("application/json", json.dumps(seen).encode())
                names = [*transcripts(dialect), *provider.answers]
                google = {"models": [{"name": f"models/{name}"} for name in names]}
                models = google if dialect == "gemini" else {"object": "list", "data": [{"id": name} for name in names]}
                self.reply("application/json", json.dumps(models).encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.calls.append((self.path, dict(self.headers), body))
                if "thread" in body:
                    return self.error(400, "There are no threads here.", details={"error_code": "thread_unsupported_request"})
                model, stream = body.get("model"), body.get("stream")
                if dialect == "gemini":
                    model, method = re.search(r"/models/([^:]+):(\w+)", self.path).groups()
                    stream = method == "streamGenerateContent"
                    if method == "countTokens":
                        return self.reply("application/json", b'{"totalTokens": 42}')
                turn = sum(message["role"] in ("assistant", "model") for message in body.get("messages", body.get("contents", [])))
                turns = model.split("+")
                name, held = turns[min(turn, len(turns) - 1)], ""
                if name not in provider.answers:
                    name, _, held = name.partition("-")
                if name == "status":
                    return self.error(int(held), "Not now.")
                kind, ending = ("text/event-stream", ".sse") if stream else ("application/json", ".json")
                if name in provider.answers:
                    return self.reply(kind, self.answer(provider.answers[name], body, stream))
                if name not in transcripts(dialect, ending) + BROKEN:
                    return self.error(404, "There is no such model.")
                answer = transcript(dialect, name, ending)
                if held:
                    return self.hold(model, answer)
                self.reply(kind, answer)

            def answer(self, answer, body, stream):
                answer = answer(body) if callable(answer) else answer
                if stream and dialect in ("anthropic", "openai_chat"):
                    return streamed(answer)
                answer = json.dumps(answer)
                return (f"data: {answer}\n\n" if stream else answer).encode()

            def reply(self, kind, body, status=200, length=None):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(length or len(body)))
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(body)

            def error(self, status, message, **more):
                kind = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}.get(status, "api_error")
                error = {"type": "error", "error": {"type": kind, "code": None, "message": message, **more}}
                self.reply("application/json", json.dumps(error).encode(), status)

            def hold(self, model, answer):
                begin = b"".join(event + b"\n\n" for event in answer.split(b"\n\n")[:-4])
                self.close_connection = True
                self.reply("text/event-stream", begin, length=len(answer))
                try:
                    self.rfile.read(1)
                except ConnectionError:
                    pass
                provider.left.append(model)

            def log_message(self, *_):
                pass

        super().__init__(Handler)
        self.url = f"{self.root}/v1beta" if dialect == "gemini" else f"{self.root}/v1"
