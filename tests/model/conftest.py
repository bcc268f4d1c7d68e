import os
import subprocess

import pytest
from harness import ROOT, Gateway


@pytest.fixture(scope="session")
def model_url(tmp_path_factory):
    """The small real model, installed on the way if it was not."""
    env = os.environ | {"SMALL_MODEL_RUN": str(tmp_path_factory.mktemp("model"))}
    script = str(ROOT / "scripts" / "small-model.sh")
    try:
        start = subprocess.run([script, "start"], env=env, stdout=subprocess.PIPE, text=True)
        if start.returncode == 77:
            pytest.skip("the small model cannot be had on this machine")
        assert start.returncode == 0
        yield start.stdout.strip()
    finally:
        subprocess.run([script, "stop"], env=env, check=True)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, model_url):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), model_url)
    yield gateway
    assert gateway.process.stop() == 0
