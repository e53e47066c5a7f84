"""Debian's Chromium without a window, spoken to through two pipes (--remote-debugging-pipe): no port is opened.

    with Browser() as browser:
        page = browser.open(path.as_uri())
        page.value("document.title")

One browser serves many pages: to start it takes longer than everything that is done with it.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-extensions", "--disable-component-update", "--disable-background-networking", "--mute-audio",
    "--no-default-browser-check", "--remote-debugging-pipe",
)


def chromium() -> str | None:
    """Where it is, or None."""
    return next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


class Browser:
    """A running browser."""

    def __init__(self) -> None:
        program = chromium()
        assert program is not None
        self._profile = tempfile.mkdtemp(prefix="safeloop-chromium-")
        there, self._send = os.pipe()
        self._receive, back = os.pipe()

        def as_three_and_four() -> None:  # where the browser looks for them
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (there, back)]
            for number, end in enumerate(ends, 3):
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={self._profile}", "about:blank"], close_fds=False,
            preexec_fn=as_three_and_four, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(back)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and everything that it left."""
        os.close(self._send)  # a browser whose pipe is closed goes
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._receive)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, and return its result; events on the way are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data):]
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str, *, script: bool = True, before: str = "") -> Page:
        """Open a page, and wait until it was read to its end; `before` runs in it before its own program."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        for domain in ("Page", "Runtime", "Network", "Log", "Performance"):
            page.call(f"{domain}.enable")
        if not script:
            page.call("Emulation.setScriptExecutionDisabled", value=True)
        if before:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        page.go(url)
        return page

    def _next(self) -> dict[str, Any]:
        ends = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receive], [], [], max(0.0, ends - time.monotonic()))
            assert ready, "the browser does not answer"
            chunk = os.read(self._receive, 1 << 20)
            assert chunk, "the browser has gone"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Page:
    """One page in a browser."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol in this page."""
        return self._browser.call(method, self._session, **params)

    def go(self, url: str) -> None:
        """Load an address to its end."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str, *, wait: bool = False) -> Any:
        """Evaluate JavaScript from outside, whatever the page's policy says, and return its value."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = PATIENCE_S) -> None:
        """Wait until an expression is true."""
        ends = time.monotonic() + seconds
        while not self.value(condition):
            assert time.monotonic() < ends, f"waited in vain for {condition}"
            time.sleep(0.02)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What has happened in this page so far."""
        return [each["params"] for each in self._browser.events
                if each.get("method") == method and each.get("sessionId") == self._session]

    def screenshot(self, path: Path, width: int, *, dark: bool = False, height: int = 0) -> None:
        """Draw the page in a window of this width; the whole of it unless a height is given."""
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height or 900, deviceScaleFactor=1, mobile=False)
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=not height)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Close it."""
        self._browser.call("Target.closeTarget", targetId=self._target)
