import shutil
from itertools import count

import pytest

_NUMBERS = count()


@pytest.fixture(scope="session")
def _built(tmp_path_factory):
    from tests.tiny import build_tiny

    return build_tiny(tmp_path_factory.mktemp("built") / "tiny")


@pytest.fixture
def tiny(_built, tmp_path):
    """A copy of the tiny dataset that a test may damage."""
    return shutil.copytree(_built, tmp_path / "tiny")


@pytest.fixture(scope="session")
def tiny_folder(_built):
    """The tiny dataset, for reading only."""
    return _built


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory):
    """The smallest dataset, few files and no pictures, for reading only."""
    from tests.tiny import build_tiny, tiny_config

    config = tiny_config(("structures: 4", "structures: 1"), ("structures: 2", "structures: 1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ceria_data.finish.draw_previews", _draw_nothing)
        return build_tiny(tmp_path_factory.mktemp("small") / "tiny", config, block=2)


@pytest.fixture
def small(small_folder, tmp_path):
    """A copy of the smallest dataset that a test may change."""
    return shutil.copytree(small_folder, tmp_path / "small")


def _draw_nothing(dataset):
    (dataset.folder / "preview").mkdir(exist_ok=True)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Pictures take most of a tiny build; the shared dataset and its own tests draw them."""
    monkeypatch.setattr("ceria_data.finish.draw_previews", _draw_nothing)


@pytest.fixture(scope="session")
def _hub():
    from tests.hub_server import HubServer

    server = HubServer().start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(_hub):
    """A Hub on the loopback interface, calm and without memory of other tests' requests."""
    _hub.calm()
    yield _hub
    _hub.calm()


@pytest.fixture(scope="session")
def _client(_hub, tmp_path_factory):
    from tests.hub_client import Client

    client = Client(_hub, tmp_path_factory.mktemp("client"))
    yield client
    client.close()


@pytest.fixture
def on_hub(hub, _client, tmp_path):
    """Run a command of ceria-data in a process of its own, with an empty cache at first."""
    return _caller(_client, tmp_path / "home")


@pytest.fixture(scope="session")
def _models_client(_hub, tmp_path_factory):
    from tests.hub_client import Client

    client = Client(_hub, tmp_path_factory.mktemp("client"), "ceria_models")
    yield client
    client.close()


@pytest.fixture
def models_on_hub(hub, _models_client, tmp_path):
    """The same for ceria-models."""
    return _caller(_models_client, tmp_path / "home")


def _caller(client, home):
    def call(*arguments, **more):
        return client(*arguments, home=home, **more)

    call.client = client
    call.home = home
    call.cache = home / "ceria"
    return call


@pytest.fixture(scope="session")
def net_folder(tmp_path_factory):
    """A small model with a card, for reading only."""
    from tests.ceria_models.make_model import saved

    return saved(tmp_path_factory.mktemp("net") / "net", version="0.1.0")


@pytest.fixture
def net(net_folder, tmp_path):
    """A copy of the small model that a test may change."""
    return shutil.copytree(net_folder, tmp_path / "net")


@pytest.fixture
def repo_id():
    """A repository that no other test uses."""
    return f"me/name-{next(_NUMBERS)}"
