# tests/integration/browser.py - a real browser without a window, spoken to through a pipe.
"""Browser() starts Debian's chromium; page(url) opens a page and records what it logs and asks for.

Protocol:  the browser's DevTools protocol, JSON messages that end with NUL, on descriptors 3 and 4
           of the child, so that no port is opened.
Network:   every request other than the page itself is recorded in .requests; the browser's own
           traffic is switched off, and names resolve to nothing.
"""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from harness import PATIENCE

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-default-apps", "--metrics-recording-only",
    "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1000,1400", "--remote-debugging-pipe",
]


def program():
    return os.environ.get("VIVACE_BROWSER") or shutil.which("chromium")


class Browser:
    def __init__(self):
        assert program(), "chromium is not installed: ./dev install-deps test"
        self.folder = tempfile.mkdtemp(prefix="vivace-browser-")
        to_child, self.out = os.pipe()
        self.input, from_child = os.pipe()
        command = [program(), *FLAGS, f"--user-data-dir={self.folder}", "about:blank"]
        with open(os.path.join(self.folder, "stderr"), "wb") as said:
            self.process = subprocess.Popen(
                ["/bin/bash", "-c", f'exec "$@" 3<&{to_child} 4>&{from_child}', "browser", *command],
                pass_fds=(to_child, from_child), stdout=subprocess.DEVNULL, stderr=said)
        os.close(to_child)
        os.close(from_child)
        self.buf = b""
        self.number = 0
        self.events = []

    def read(self, limit):
        """The next message."""
        while b"\0" not in self.buf:
            left = limit - time.monotonic()
            ready = select.select([self.input], [], [], max(left, 0))[0]
            data = os.read(self.input, 1 << 20) if ready else b""
            if not data:
                with open(os.path.join(self.folder, "stderr"), encoding="utf-8") as said:
                    raise AssertionError(f"the browser says nothing: {said.read()[-2000:]}")
            self.buf += data
        text, self.buf = self.buf.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, session=None, **params):
        """Calls and waits for the answer; events that come meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        limit = time.monotonic() + 6 * PATIENCE
        while True:
            got = self.read(limit)
            if got.get("id") == self.number:
                assert "error" not in got, (method, got)
                return got["result"]
            self.events.append(got)

    def wait(self, method):
        """Waits for an event; leaves it in place."""
        limit = time.monotonic() + 6 * PATIENCE
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self.read(limit))

    def page(self, url, dark=False):
        return Page(self, url, dark)

    def close(self):
        os.close(self.out)  # the browser ends when nobody speaks to it any more
        os.close(self.input)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Page:
    """One page, loaded. .errors: what it logged; .requests: every URL it asked for."""

    def __init__(self, browser, url, dark):
        self.browser = browser
        browser.events = []
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target,
                                    flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.media("screen", dark)
        browser.events = []
        self.call("Page.navigate", url=url)
        browser.wait("Page.loadEventFired")
        self.run("document.fonts.ready.then(() => 0)")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def media(self, media, dark):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def run(self, script):
        """The value of an expression in the page."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def happened(self, *methods):
        return [e["params"] for e in self.browser.events if e.get("method") in methods]

    @property
    def errors(self):
        return self.happened("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")

    @property
    def requests(self):
        return [e["request"]["url"] for e in self.happened("Network.requestWillBeSent")]
