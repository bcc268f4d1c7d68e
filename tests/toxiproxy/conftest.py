import json
import os
import socket
import urllib.request

import pytest
from harness import Gateway, Process, Provider, wait_until

CONFIG = """
[[upstreams]]
name = "shaky"
base_url = "{shaky}"
api_key = "sk-upstream-canary"
{timeouts}

[[upstreams]]
name = "well"
base_url = "{well}"
api_key = "sk-upstream-canary"
{timeouts}

[[routes]]
model = "alone"
[[routes.deployments]]
upstream = "shaky"
model = "fake"

[[routes]]
model = "two"
[[routes.deployments]]
upstream = "shaky"
model = "fake-20-5"
[[routes.deployments]]
upstream = "well"
model = "fake"
"""
TIMEOUTS = "\n".join(f'{name}_timeout = "2s"' for name in ("connect", "head", "first_event", "event"))


class Toxiproxy:
    """A proxy in front of a provider, whose faults are set over HTTP."""

    def __init__(self, directory, target):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._api = f"http://127.0.0.1:{port}"
        command = [os.environ["TOXIPROXY"], "-host", "127.0.0.1", "-port", str(port)]
        self.process = Process(command, directory / "toxiproxy.log", os.environ | {"LOG_LEVEL": "warn"})
        wait_until(self._is_up, "toxiproxy")
        proxy = self._send("/proxies", {"name": "shaky", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{target}", "enabled": True})
        self.url = f"http://{proxy['listen']}/v1"

    def _is_up(self):
        try:
            return urllib.request.urlopen(f"{self._api}/version")
        except OSError:
            return None

    def _send(self, path, body):
        request = urllib.request.Request(self._api + path, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    def add(self, kind, stream="downstream", **attributes):
        self._send("/proxies/shaky/toxics", {"type": kind, "stream": stream, "attributes": attributes})

    def listen(self, enabled):
        self._send("/proxies/shaky", {"enabled": enabled})


@pytest.fixture(scope="session")
def provider(tmp_path_factory):
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.process.stop()


@pytest.fixture
def proxy(tmp_path, provider):
    proxy = Toxiproxy(tmp_path, provider.port)
    yield proxy
    proxy.process.stop()


@pytest.fixture
def gateway(tmp_path, provider, proxy):
    config = tmp_path / "everstream.toml"
    config.write_text(CONFIG.format(shaky=proxy.url, well=provider.url, timeouts=TIMEOUTS))
    gateway = Gateway(tmp_path, provider.url, EVERSTREAM_CONFIG=str(config))
    provider.reset()
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]
