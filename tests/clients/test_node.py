"""The official Node client and two EventSource libraries: each file of `node/` is a run of `node --test`."""

import os
import subprocess
from pathlib import Path

import pytest
from harness import ALICE

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(HERE.glob("node/*.test.mjs")), ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_node(file, gateway, provider):
    env = os.environ | {
        "GATEWAY_PORT": str(gateway.port),
        "PROVIDER_PORT": str(provider.port),
        "CLIENT_KEY": ALICE,
        "UPSTREAM_TEXT": provider.text("fake"),
    }
    run = subprocess.run(["node", "--test", str(file)], cwd=HERE, env=env, capture_output=True, text=True, timeout=180)
    print(run.stdout[-6000:], run.stderr[-2000:])
    assert run.returncode == 0, f"node --test {file.name}; its output is above"
