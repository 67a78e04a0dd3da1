import shutil

import pytest


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


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Pictures take most of a tiny build; the shared dataset and its own tests draw them."""
    monkeypatch.setattr(
        "ceria_data.finish.draw_previews",
        lambda dataset: (dataset.folder / "preview").mkdir(exist_ok=True),
    )
