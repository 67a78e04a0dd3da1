"""A command line of `ceria-models` in this process."""

import sys

import pytest

from ceria_models import cli


def run(monkeypatch, capsys, *arguments):
    """Exit code, output and errors of a command."""
    monkeypatch.setattr(sys, "argv", ["ceria-models", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err
