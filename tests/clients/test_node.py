"""The official Node clients, two EventSource libraries and the Vercel AI SDK: each file of `node/` is a run of `node --test`."""

import os
import subprocess
from pathlib import Path

import pytest
from golden import GOLDEN
from harness import ALICE

HERE = Path(__file__).parent


def suites(folder):
    files = sorted(HERE.glob(f"{folder}/*.test.mjs"))
    return pytest.mark.parametrize("file", files, ids=lambda path: path.name.removesuffix(".test.mjs"))


def run_suite(file, **env):
    run = subprocess.run(["node", "--test", str(file)], cwd=HERE, env=os.environ | {"CLIENT_KEY": ALICE} | env, capture_output=True, text=True, timeout=180)
    print(run.stdout[run.stdout.find("\nnot ok"):][:6000], run.stderr[-2000:])
    assert run.returncode == 0, f"node --test {file.name}; its output is above"


@suites("node")
def test_node(file, gateway, provider):
    run_suite(file, GATEWAY_PORT=str(gateway.port), PROVIDER_PORT=str(provider.port), UPSTREAM_TEXT=provider.text("fake"))


@suites("node/dialects")
def test_dialects(file, dialect_gateway, goldens):
    ports = {"CLAUDE_PORT": goldens["anthropic"].port, "GPT_PORT": goldens["openai"].port, "GATEWAY_PORT": dialect_gateway.port}
    run_suite(file, GOLDEN_DIR=str(GOLDEN), **{name: str(port) for name, port in ports.items()})
