"""A headless browser, driven through the DevTools protocol over a pair of pipes."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from itertools import count
from pathlib import Path

PROGRAMS = ("chromium", "google-chrome", "chromium-browser")
_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-extensions", "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1",
)  # fmt: skip


def browser_program():
    """Path of a browser, or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One page in a browser; as a context manager it ends the browser that it started."""

    def __init__(self, profile: Path, width=1366, height=768):
        self.problems = []
        self.requests = []
        self.loaded = False
        self._numbers = count(1)
        self._rest = b""
        self._size = (width, height)
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def place_pipes():
            # The browser reads from 3 and writes to 4; these may be each other's numbers.
            a, b = os.dup(to_read), os.dup(to_write)
            a, b = (os.dup2(fd, 60 + i) for i, fd in enumerate((a, b)))
            os.dup2(a, 3)
            os.dup2(b, 4)

        self._process = subprocess.Popen(
            [browser_program(), *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=place_pipes,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._session = None

    def __enter__(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        width, height = self._size
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def call(self, method, **parameters):
        """One command; what is said meanwhile is noted."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _message(self):
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self._rest += part
        first, self._rest = self._rest.split(b"\0", 1)
        return json.loads(first)

    def _note(self, event):
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", details).get("description", details))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.problems.append(told["args"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, file: Path):
        """Open a page and wait until it says that it is ready."""
        self.loaded = False
        self.call("Page.navigate", url=file.resolve().as_uri())
        while not self.loaded:
            self._note(self._message())
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def run(self, expression):
        """Value of a JavaScript expression."""
        done = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise RuntimeError(str(done["exceptionDetails"]))
        return done["result"].get("value")

    def wait(self, expression, seconds=20):
        """Wait until an expression is true."""
        done = self.run(
            f"new Promise((tell) => {{ const until = Date.now() + 1000 * {seconds:g};"
            f" const look = () => {{ if ({expression}) tell(true);"
            " else if (Date.now() > until) tell(false); else setTimeout(look, 20); }; look(); })"
        )
        assert done, f"in {seconds} s it did not become true: {expression}; {self.problems}"

    def click(self, x, y):
        """Press and release the mouse at a place of the window [CSS pixels]."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )  # fmt: skip

    def key(self, key, code=None):
        """Press and release a key."""
        codes = {"ArrowRight": 39, "ArrowLeft": 37, " ": 32, "Tab": 9, "Enter": 13}
        more = {"text": key} if key == " " else {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=code or key,
                windowsVirtualKeyCode=codes[key], **(more if kind == "keyDown" else {}),
            )  # fmt: skip

    def focus(self, selector):
        self.run(f"document.querySelector({selector!r}).focus()")

    def choose(self, selector, value):
        """Choose an entry of a list."""
        self.run(
            f"(() => {{ const e = document.querySelector({selector!r}); e.value = {value!r};"
            " e.dispatchEvent(new Event('change')); })()"
        )

    def middle(self, selector):
        """Middle of an element in the window."""
        return self.run(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView("
            "{block: 'nearest'}); const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )

    def media(self, scheme, *, printed=False):
        """Look light or dark, on a screen or on paper."""
        self.call(
            "Emulation.setEmulatedMedia", media="print" if printed else "screen",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )  # fmt: skip

    def screenshot(self, file: Path, *, whole=False):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(b64decode(shot["data"]))

    def pdf(self, file: Path):
        file.write_bytes(b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))
