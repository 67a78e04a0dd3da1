"""Without its extra, an export says what to install; these tests need none of them."""

import subprocess
import sys

import pytest

from tests.ceria_models.make_model import fresh


@pytest.mark.parametrize(
    ("package", "file_format", "extra"),
    [("onnxscript", "onnx", "onnx"), ("bioimageio", "bioimageio", "bioimageio")],
)
def test_a_missing_extra_is_named(tmp_path, package, file_format, extra):
    fresh().save_pretrained(tmp_path / "net")
    arguments = ["export", str(tmp_path / "net"), "--format", file_format, "--out", "d"]
    code = (
        f"import sys; sys.modules[{package!r}] = None; from ceria_models.cli import main;"
        f"sys.argv = ['ceria-models', *{arguments!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert f"pip install 'ceria[{extra}]'" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["net"]
