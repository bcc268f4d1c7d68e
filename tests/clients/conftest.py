import pytest
from golden import GoldenProvider, completion, message
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


@pytest.fixture(scope="session")
def goldens():
    """Providers of golden transcripts. Their model `city` is for those who ask for JSON."""
    city = '{"name": "Bern", "inhabitants": 134000}'
    with GoldenProvider("anthropic", {"city": message(city)}) as claude, GoldenProvider("openai_chat", {"city": completion(city)}) as gpt:
        yield {"anthropic": claude, "openai": gpt}


@pytest.fixture(scope="session")
def dialect_gateway(tmp_path_factory, goldens):
    """In front of `goldens`: a model is `anthropic/...` or `openai/...`. Generations end with their last reader."""
    env = {
        "ANTHROPIC_BASE_URL": goldens["anthropic"].root,
        "ANTHROPIC_API_KEY": "sk-ant-canary",
        "EVERSTREAM__STREAMS__ON_DISCONNECT": "cancel",
    }
    gateway = Gateway(tmp_path_factory.mktemp("dialects"), goldens["openai"].url, **env)
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


@pytest.fixture
def called_once(provider):
    """Fails the test unless the provider was called exactly once in it."""
    yield
    assert provider.calls()["total"] == 1


@pytest.fixture
def auth():
    return {"Authorization": f"Bearer {ALICE}"}
