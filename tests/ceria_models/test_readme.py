"""The README's way to count atoms, in a process without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ceria_models.model_places import DEFAULT, bundled_models

README = Path(__file__).parents[2] / "README.md"
NO_NETWORK = """
import socket
def refuse(*arguments, **named):
    raise AssertionError("a connection was opened")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
"""


@pytest.mark.skipif(DEFAULT not in bundled_models(), reason="no model is bundled")
def test_the_example_counts_atoms_without_a_network(tmp_path):
    section = README.read_text(encoding="utf-8").split("## Count atoms\n")[1]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    check = "assert len(found.columns) > 20 and found.in_domain, found.warnings"
    environment = os.environ | {"CERIA_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{NO_NETWORK}\n{example}\n{check}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "occupancy" in done.stdout
    assert not list(tmp_path.iterdir())
