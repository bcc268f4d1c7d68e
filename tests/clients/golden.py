"""A provider that answers with the golden transcripts: a model's name is that of a file in `crates/core/tests/golden`."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import ROOT

GOLDEN = ROOT / "crates/core/tests/golden"
# Those of answers that are no whole ones.
BROKEN = ["cut", "error_midstream", "error_openrouter", "done_without_finish"]


def transcripts(dialect, ending=".sse"):
    """The names of all whole answers."""
    names = (path.name.removesuffix(ending) for path in (GOLDEN / dialect).glob(f"*{ending}") if ".to_" not in path.name)
    return sorted(name for name in names if name not in BROKEN)


def transcript(dialect, name, ending):
    return (GOLDEN / dialect / f"{name}{ending}").read_bytes()


class GoldenProvider:
    """Speaks `dialect`, an API of which there are transcripts. `answers` has further models, each with its JSON."""

    def __init__(self, dialect, answers=None):
        self.dialect, self.answers, self.calls = dialect, answers or {}, []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                models = [{"id": name} for name in [*transcripts(dialect), *provider.answers]]
                self.reply("application/json", json.dumps({"object": "list", "data": models}).encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.calls.append((self.path, dict(self.headers), body))
                if body["model"] in provider.answers:
                    return self.reply("application/json", json.dumps(provider.answers[body["model"]]).encode())
                kind, ending = ("text/event-stream", ".sse") if body.get("stream") else ("application/json", ".json")
                if body["model"] not in transcripts(dialect, ending) + BROKEN:
                    error = {"type": "not_found_error", "code": "model_not_found", "message": "There is no such model."}
                    return self.reply("application/json", json.dumps({"type": "error", "error": error}).encode(), 404)
                self.reply(kind, transcript(dialect, body["model"], ending))

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
        self.url = f"{self.root}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
