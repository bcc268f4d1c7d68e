import pytest
from harness import ALICE, Gateway, Provider


@pytest.fixture(scope="session")
def running_provider(tmp_path_factory):
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.process.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, running_provider):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), running_provider.url)
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


@pytest.fixture
def provider(running_provider):
    """The provider with its counts at zero."""
    running_provider.reset()
    return running_provider


@pytest.fixture
def called_once(provider):
    """Fails the test unless the provider was called exactly once in it."""
    yield
    assert provider.calls()["total"] == 1


@pytest.fixture
def auth():
    return {"Authorization": f"Bearer {ALICE}"}
