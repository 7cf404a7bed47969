"""A real headless Chromium, spoken to over a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 240.0


class Browser:
    """One browser with one tab and a profile of its own."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium")
        assert program, "this test needs Chromium: apt-get install chromium"
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        os.close(theirs_in)
        os.close(theirs_out)

        def place_pipes() -> None:
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(3, 4, *high), preexec_fn=place_pipes, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in high:
            os.close(end)
        self._in, self._out, self._buffer, self._number = ours_in, ours_out, b"", 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def close(self) -> None:
        self._session = ""
        self._send("Browser.close", {})
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _send(self, method: str, params: dict[str, Any]) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._number

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 16)
            assert data, "the browser is gone"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def call(self, method: str, wait_for: str = "", **params: Any) -> Any:
        """Calls a method of the DevTools protocol; waits for its answer, and for an event if one is named."""
        until, number, answer, happened = time.monotonic() + PATIENCE, self._send(method, params), None, not wait_for
        while answer is None or not happened:
            message = self._receive(until)
            happened = happened or message.get("method") == wait_for
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                answer = message["result"]
        return answer

    def open(self, address: str) -> None:
        self.call("Page.navigate", wait_for="Page.loadEventFired", url=address)

    def read(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def do(self, expression: str) -> None:
        """Runs JavaScript that leads to another page, and waits for that page."""
        self.call("Runtime.evaluate", wait_for="Page.loadEventFired", expression=expression)

    def click(self, text: str) -> None:
        """Clicks the link with that text."""
        found = f"[...document.querySelectorAll('a')].find(a => a.textContent === {json.dumps(text)})"
        assert self.read(f"!!({found})"), f"no {text!r} on {self.read('document.body.innerText')!r}"
        self.do(f"({found}).click()")
