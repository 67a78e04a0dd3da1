"""Without its extra, an export for the BioImage Model Zoo says what to install."""

import subprocess
import sys

from tests.ceria_models.make_model import fresh


def test_a_missing_extra_is_named(tmp_path):
    fresh().save_pretrained(tmp_path / "net")
    arguments = ["export", str(tmp_path / "net"), "--format", "bioimageio", "--out", "d"]
    code = (
        "import sys; sys.modules['bioimageio'] = None; from ceria_models.cli import main;"
        f"sys.argv = ['ceria-models', *{arguments!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "pip install 'ceria[bioimageio]'" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["net"]
