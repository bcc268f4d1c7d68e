"""What the tests run against: the gateway's binary, the scripted provider's, and a proxy that cuts connections."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from http.server import ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UPSTREAM_KEY = "sk-upstream-canary"
ALICE, BOB = "sk-alice-canary", "sk-bob-canary"


def binary(name):
    path = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / os.environ.get("EVERSTREAM_TEST_PROFILE", "debug") / name
    assert path.exists(), f"{path} is missing: cargo build -p everstream -p everstream-testkit"
    return str(path)


def wait_until(condition, what, seconds=30):
    """Polls for what another process does."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Process:
    """A child that writes to `log` and is ended by its own id."""

    def __init__(self, command, log, env):
        self.log = Path(log)
        with self.log.open("wb") as out:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env)

    def wait_for_line(self, pattern, seconds=30):
        def line():
            text = self.log.read_text(errors="replace")
            assert self._child.poll() is None, f"it ended with {self._child.returncode}:\n{text}"
            return re.search(pattern, text, re.MULTILINE)

        try:
            return wait_until(line, f"{pattern!r} in {self.log}", seconds).group(1)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """The exit code after SIGTERM."""
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.send_signal(signal.SIGTERM)
            try:
                return self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                return self._child.wait()


class Provider:
    """The scripted provider. A model's name says how it answers: `fake-provider --help`."""

    def __init__(self, directory):
        command = [binary("fake-provider"), "--port", "0", "--print-port", "--require-key", UPSTREAM_KEY]
        self.process = Process(command, directory / "provider.log", os.environ.copy())
        self.port = int(self.process.wait_for_line(r"^(\d+)\n"))
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def calls(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_calls") as reply:
            return json.load(reply)

    def reset(self):
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.port}/_reset", method="POST")).close()

    def text(self, model):
        """The whole answer of a model, asked without the gateway and not counted."""
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {UPSTREAM_KEY}"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/chat/completions", body, headers)) as reply:
            text = json.load(reply)["choices"][0]["message"]["content"]
        self.reset()
        return text


class Gateway:
    """`everstream serve` on a free port and a data directory of its own, in front of one upstream."""

    def __init__(self, directory, upstream_url, **env):
        self.directory = Path(directory)
        self.data = self.directory / "data"
        kept = {k: v for k, v in os.environ.items() if not re.match(r"EVERSTREAM|OPENAI|ANTHROPIC|GEMINI", k)}
        settings = {
            "EVERSTREAM_LISTEN": "127.0.0.1:0",
            "EVERSTREAM_ADMIN_LISTEN": "127.0.0.1:0",
            "EVERSTREAM_DATA_DIR": str(self.data),
            "EVERSTREAM_API_KEYS": f"{ALICE},{BOB}",
            "OPENAI_BASE_URL": upstream_url,
            "OPENAI_API_KEY": UPSTREAM_KEY,
        }
        self.process = Process([binary("everstream"), "serve"], self.directory / "gateway.log", kept | settings | env)
        self.port = int(self.process.wait_for_line(r"listening on http://127\.0\.0\.1:(\d+)"))
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"

    @cached_property
    def operators(self):
        return "http://" + self.process.wait_for_line(r"listening for operators.*address=(\S+:\d+)")

    def steer(self, method, path, **body):
        """What the operators' API answers."""
        data = json.dumps(body).encode() if body else None
        ask = urllib.request.Request(f"{self.operators}/admin/{path}", data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(ask) as reply:
            return json.loads(reply.read() or "null")

    def key(self, project, **scopes):
        """A new key, as the operators' API shows it this once."""
        return self.steer("POST", "keys", project=project, name=project, create_project=True, **scopes)

    def revoke(self, key):
        self.steer("POST", f"keys/{key['id']}/revoke")

    def budget(self, key, dollars):
        """Bounds what a key may cost in a month. The gateway hears of it within a second."""
        self.steer("PUT", f"budgets/{key['id']}", key=key["id"], period="month", limit=dollars)


class Served:
    """A server at `root`, for as long as it is used in a `with`."""

    def __init__(self, handler):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.root = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class CuttingProxy:
    """A TCP proxy in front of `port`. Connection n is cut after `cuts[n]` bytes of replies, later ones never.

    With 0 it is cut before a reply, as soon as `when()` is true.
    """

    def __init__(self, port, cuts, when=lambda: True):
        self._target, self._cuts, self._when = port, list(cuts), when
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        self.connections = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            budget = self._cuts.pop(0) if self._cuts else None
            upstream = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._forward, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self._replies, args=(client, upstream, budget), daemon=True).start()

    @staticmethod
    def _forward(client, upstream):
        try:
            while data := client.recv(65536):
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _replies(self, client, upstream, budget):
        if budget == 0:
            wait_until(self._when, "the moment to cut")
        try:
            while budget != 0 and (data := upstream.recv(65536)):
                client.sendall(data[:budget])
                budget = budget and max(budget - len(data), 0)
        except OSError:
            pass
        for end in (client, upstream):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


@dataclass
class Frame:
    """One SSE block as it stood on the wire."""

    raw: bytes
    fields: list

    def field(self, name):
        return next((value for key, value in self.fields if key == name), None)


def frames(body):
    """The blocks of an SSE body; heartbeats, which are no part of the stream, are left out."""
    text = re.sub(rb"(?m)^: ping\n", b"", body)
    text = re.sub(rb"(?m)^:[^\n]*\n+", b"", text)
    assert text.endswith(b"\n\n") or not text, f"the body ends inside a frame: {text[-80:]!r}"
    return [Frame(b + b"\n\n", [tuple(line.split(b": ", 1)) for line in b.split(b"\n")]) for b in text.split(b"\n\n")[:-1]]
