"""The class of machine on which equal content is promised."""

import subprocess
import sys

import pytest

from ceria_data.provenance import machine

KERNELS = "from ceria_data.provenance import machine; print(machine('cpu')['blas'])"


def test_the_kernels_of_the_blas_are_named():
    assert machine("cpu")["blas"] != "unknown"


def test_what_else_a_process_has_loaded_does_not_matter():
    found = {
        subprocess.run(
            [sys.executable, "-c", f"import {module}; {KERNELS}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for module in ("numpy", "scipy.linalg", "torch")
    }
    assert len(found) == 1


def test_another_kernel_is_another_class(monkeypatch):
    code = [sys.executable, "-c", KERNELS]
    own = machine("cpu")["blas"]
    if "openblas" not in own:
        pytest.skip("only OpenBLAS lets its kernels be chosen")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")  # which every x86-64 processor can run
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("openblas ")
    assert own != done.stdout.strip()
