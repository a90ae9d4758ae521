"""A real Chromium without a window, driven over its DevTools pipe: JSON that ends in NUL."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
_TIMEOUT = 60.0  # seconds; of a browser that hangs
_KEYS = {"Backspace": 8, "Escape": 27, "Enter": 13, "End": 35, "Home": 36} | {
    f"Arrow{way}": 37 + number for number, way in enumerate(("Left", "Up", "Right", "Down"))
}


def find_chromium() -> str | None:
    """The browser of the environment variable CHROMIUM, else the first on PATH."""
    said = os.environ.get("CHROMIUM")
    return said or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One process; `open` gives a page in it. Closed by `close`."""

    def __init__(self, binary: str, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser reads from file descriptor 3 and writes to 4.
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._log = open(profile.with_suffix(".log"), "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            ["bash", "-c", script, binary, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._rest = 0, b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []

    def open(self, place: Path | str, width: int = 1280, height: int = 800) -> Page:
        """A new tab with a file or the page at an address."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, attached["sessionId"], target)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        page.go(place.resolve().as_uri() if isinstance(place, Path) else place)
        return page

    def close(self) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._log.close()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        number, until = self._number, time.monotonic() + _TIMEOUT
        while number not in self._answers:
            self._receive(until)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def events(self, session: str) -> list[dict[str, Any]]:
        """What a page reported so far."""
        return [event for event in self._events if event.get("sessionId") == session]

    def wait_for(self, session: str, method: str, since: int) -> None:
        """Until the page reports `method`, after its first `since` events."""
        until = time.monotonic() + _TIMEOUT
        while not any(event["method"] == method for event in self.events(session)[since:]):
            self._receive(until)

    def _receive(self, until: float) -> None:
        ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
        data = os.read(self._in, 2**20) if ready else b""
        if not data:
            raise RuntimeError(f"the browser said nothing; see {self._log.name}")
        *messages, self._rest = (self._rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._events.append(message)


class Page:
    """One tab."""

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def go(self, address: str) -> None:
        self._load("Page.navigate", url=address)

    def reload(self) -> None:
        self._load("Page.reload")

    def _load(self, method: str, **parameters: Any) -> None:
        since = len(self._browser.events(self._session))
        self.call(method, **parameters)
        self._browser.wait_for(self._session, "Page.loadEventFired", since)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """`scheme` is "light" or "dark"."""
        wish = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=wish)

    def js(self, expression: str) -> Any:
        """The value of an expression, a promise's once it is settled. Raises what it throws."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description"))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true; what is asked of a page that still loads is false."""
        until = time.monotonic() + _TIMEOUT
        while time.monotonic() < until:
            try:
                if self.js(f"Boolean({condition})"):
                    return
            except RuntimeError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"never came true: {condition}")

    def settle(self) -> None:
        """Two frames on: what a scroll, a key or a new size asked for is drawn."""
        self.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def key(self, key: str, *, shift: bool = False) -> None:
        code = _KEYS.get(key) or ord(key.upper())
        stroke: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **stroke, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **stroke)
        self.settle()

    def hover(self, selector: str) -> tuple[float, float]:
        """Move the mouse to the middle of the first element that matches."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{found}.scrollIntoView({{block: 'nearest'}})")
        box = "(b => [b.x, b.y, b.width, b.height])"
        x, y, width, height = self.js(f"{box}({found}.getBoundingClientRect())")
        place = x + width / 2, y + height / 2
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        self.settle()
        return place

    def click(self, selector: str) -> None:
        self.drag([self.hover(selector)])

    def drag(self, places: Sequence[tuple[float, float]], button: str = "left") -> None:
        """Press a mouse button at the first place, move over the others, and let it go."""
        moves = [("mouseMoved", place) for place in places]
        strokes = [*moves[:1], ("mousePressed", places[0]), *moves[1:]]
        for kind, (x, y) in [*strokes, ("mouseReleased", places[-1])]:
            held = {"button": button, "clickCount": 1 if kind != "mouseMoved" else 0}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)
        self.settle()

    def wheel(self, x: float, y: float, down: float) -> None:
        roll = {"type": "mouseWheel", "deltaX": 0, "deltaY": down}
        self.call("Input.dispatchMouseEvent", x=x, y=y, **roll)
        self.settle()

    def touch(self, *steps: Sequence[tuple[float, float]]) -> None:
        """Put fingers down at the first places, move them over the others, lift them."""
        for number, places in enumerate([*steps, ()]):
            kind = "touchEnd" if not places else "touchMove" if number else "touchStart"
            fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)
        self.settle()

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """Errors that the page met: exceptions, files not found, what its policy forbade."""
        found = []
        for event in self._browser.events(self._session):
            if event["method"] == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"]["exception"]["description"])
            elif event["method"] == "Log.entryAdded":
                entry = event["params"]["entry"]
                found += [f"{entry['text']} {entry.get('url', '')}"] * (entry["level"] == "error")
        return found

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
