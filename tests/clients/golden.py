"""A provider that answers with the golden transcripts: a model's name is that of a file in `crates/core/tests/golden`."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import ROOT

GOLDEN = ROOT / "crates/core/tests/golden"


def transcripts(dialect, ending=".sse"):
    """The names of all, but for those of answers that are no whole ones."""
    names = (path.name.removesuffix(ending) for path in (GOLDEN / dialect).glob(f"*{ending}") if ".to_" not in path.name)
    return sorted(name for name in names if name not in ("cut", "error_midstream", "error_openrouter", "done_without_finish", "no_candidates"))


def transcript(dialect, name, ending):
    return (GOLDEN / dialect / f"{name}{ending}").read_bytes()


class GoldenProvider:
    """Speaks `dialect`, an API of which there are transcripts. `answers` has further models, each with its JSON, or what makes it of a request."""

    def __init__(self, dialect, answers=None):
        self.dialect, self.answers, self.calls = dialect, answers or {}, []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                names = [*transcripts(dialect), *provider.answers]
                google = {"models": [{"name": f"models/{name}"} for name in names]}
                models = google if dialect == "gemini" else {"object": "list", "data": [{"id": name} for name in names]}
                self.reply("application/json", json.dumps(models).encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.calls.append((self.path, dict(self.headers), body))
                model, streamed = body.get("model"), body.get("stream")
                if dialect == "gemini":
                    model, method = re.search(r"/models/([^:]+):(\w+)", self.path).groups()
                    streamed = method == "streamGenerateContent"
                    if method == "countTokens":
                        return self.reply("application/json", b'{"totalTokens": 42}')
                if model in provider.answers:
                    answer = provider.answers[model]
                    answer = json.dumps(answer(body) if callable(answer) else answer)
                    return self.reply("text/event-stream", f"data: {answer}\n\n".encode()) if streamed else self.reply("application/json", answer.encode())
                kind, ending = ("text/event-stream", ".sse") if streamed else ("application/json", ".json")
                if not (GOLDEN / dialect / f"{model}{ending}").exists():
                    return self.reply("application/json", b'{"error": {"code": 404, "message": "No such model.", "status": "NOT_FOUND"}}', 404)
                self.reply(kind, transcript(dialect, model, ending))

            def reply(self, kind, body, status=200):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.root}/v1beta" if dialect == "gemini" else f"{self.root}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
