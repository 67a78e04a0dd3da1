"""What goes wrong between a Hub and a computer: changed replies, and killed commands."""

import random
import threading
from dataclasses import dataclass

from tests.hub_client import Client
from tests.tiny import contents

TREE = "^GET .*/tree/[0-9a-f]{40}"
"""The list of the files of a commit."""


def body(change):
    """Change the bytes of a file, and its length with them."""

    def changed(reply):
        reply.body = change(reply.body)

    return changed


def headers(**more):
    def changed(reply):
        reply.headers |= {key.replace("_", "-"): value for key, value in more.items()}

    return changed


def entries(change):
    """Change the list of files that the Hub gives."""

    def changed(reply):
        reply.data = change(reply.data)

    return changed


def without(name):
    return entries(lambda listed: [entry for entry in listed if entry["path"] != name])


def beside(name):
    entry = {"type": "file", "path": name, "size": 3, "oid": "0" * 40}
    return entries(lambda listed: [*listed, entry])


def with_other(name, key, value):
    return entries(lambda listed: [e | ({key: value} if e["path"] == name else {}) for e in listed])


@dataclass
class Killer:
    """Kills the running command at its n-th request: before the answer, or a little later."""

    hub: object
    client: Client
    at: int
    delay: float
    seen: int = 0
    struck: bool = False

    def __call__(self, number, request):
        self.seen += 1
        if self.seen == self.at:
            self.struck = True
            struck = self.client.running()
            if self.delay:
                # The command may end before; the one after it is not to be struck.
                threading.Timer(self.delay, self.client.kill, [struck]).start()
            else:
                self.client.kill(struck)


def points(seed, number):
    """Draw when to kill: after which share of the requests, and how long after that one [s]."""
    rng = random.Random(seed)
    return [(round(rng.random(), 2), rng.choice([0, 0, 0.005, 0.05])) for _ in range(number)]


def assert_refused(hub, call, folder, repo_id, fault):
    """A pull in which something is wrong ends with nothing; the next one brings all."""
    hub.faults.append(fault)
    out = call.home / "out"
    pulled = call("pull", repo_id, "--out", out, "--quiet")
    assert fault.happened
    assert pulled.code in (1, 2), pulled
    assert "Traceback" not in pulled.err
    assert not out.exists()
    hub.calm()
    pulled = call("pull", repo_id, "--out", out, "--quiet")
    assert pulled.code == 0, pulled
    assert contents(out) == contents(folder)
