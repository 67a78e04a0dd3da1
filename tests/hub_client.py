"""Commands of both programs in processes of their own, against the loopback Hub.

The client reads ``HF_ENDPOINT`` when it is imported, and importing takes longer than most of
what is tested. So one process is started with the environment of the Hub and imports
everything; every command runs in a fork of it, which can be killed. `fresh` starts Python anew.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.hub_server import TOKEN, HubServer

ROOT = Path(__file__).parents[1]
IMPORTED = {
    "ceria_data": ("cli", "cli_hub", "dataset_pull", "dataset_push", "verify"),
    "ceria_models": ("cli", "model_pull", "model_push", "prediction_run"),
}
"""What a command would import, by program."""


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def facts(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit code {self.code}\n{self.out}\n{self.err}"


def environment(server: HubServer, home: Path, **more: str) -> dict[str, str]:
    """What a user's shell would hold; nothing of the real Hub."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "CERIA_"))
    }
    return kept | {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": "3",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3",
        "CERIA_HOME": str(home / "ceria"),
        "NO_PROXY": "*",
        "PYTHONPATH": str(ROOT),
        **more,
    }


class Client:
    """Runs commands; each in a fork of a process that has imported everything."""

    def __init__(
        self, server: HubServer, home: Path, program: str = "ceria_data", **more: str
    ) -> None:
        self.server = server
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hub_client", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(server, home, **more),
            text=True,
        )
        self._lock = threading.Lock()
        self.pid = 0

    def __call__(self, *arguments, home: Path, cwd: Path | None = None, **more: str) -> Outcome:
        with self._lock:
            files = [home / name for name in ("stdout.txt", "stderr.txt")]
            home.mkdir(exist_ok=True)
            variables = {"CERIA_HOME": str(home / "ceria"), **more}
            request = {
                "arguments": [str(argument) for argument in arguments],
                "environment": variables,
                "files": [str(file) for file in files],
                "cwd": str(cwd or home),
            }
            self._send(request)
            self.pid = int(self._process.stdout.readline())
            code = int(self._process.stdout.readline())
            self.pid = 0
            return Outcome(code, *(file.read_text("utf-8", "replace") for file in files))

    def running(self) -> int:
        """Process number of the command that runs now."""
        while not (pid := self.pid):  # it may be quicker than its number
            time.sleep(0.001)
        return pid

    def kill(self, pid: int) -> None:
        """Kill a command, as `kill -9` does, unless it has ended."""
        if self.pid == pid:
            os.kill(pid, signal.SIGKILL)

    def _send(self, request) -> None:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def fresh(
    server: HubServer, *arguments, home: Path, program: str = "ceria_data", **more: str
) -> Outcome:
    """Run a command in a new Python."""
    done = subprocess.run(
        [sys.executable, "-m", program, *map(str, arguments)],
        env=environment(server, home, **more),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=250,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def answers(server: HubServer, script: str, *arguments, home: Path, **more: str) -> list:
    """Run a script in a new Python; a line of JSON is an answer."""
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment(server, home, **more),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _serve(program: str) -> None:
    for name in IMPORTED[program]:
        importlib.import_module(f"{program}.{name}")
    if program == "ceria_models":
        # Nets of no size make torch import the rest of itself, once and not in every command.
        importlib.import_module("ceria_models.model_places").list_models()
    app = importlib.import_module(f"{program}.cli").app
    from ceria_data.errors import CeriaError
    from ceria_data.terminal import run

    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.environ.update(request["environment"])
                os.chdir(request["cwd"])
                for number, file in zip((1, 2), request["files"], strict=True):
                    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.argv = [program.replace("_", "-"), *request["arguments"]]
                code = run(app, CeriaError)
            except Exception:
                sys.excepthook(*sys.exc_info())
                code = 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(ended, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
