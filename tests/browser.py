"""A headless Chromium over the WebDriver protocol, in plain HTTP: no browser library."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.waiting import wait_until

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
_SECONDS = 60.0


def missing() -> str:
    """Why there is no browser to test in; empty if there is one."""
    if shutil.which("chromedriver") is None:
        return "no chromedriver: install chromium and chromium-driver to test the page in a browser"
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return "" if any(shutil.which(name) for name in names) else "no Chromium to test the page in"


class Browser:
    """One page of a browser."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        wanted = {"goog:chromeOptions": {"args": list(_FLAGS)}, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._call("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def cdp(self, command: str, **params: Any) -> Any:
        """Run a command of the DevTools protocol."""
        return self._call(f"{self._session}/goog/cdp/execute", {"cmd": command, "params": params})

    def screen(self, width: int, height: int, dark: bool = False, scripts: bool = True) -> None:
        """Set the size of the window in CSS pixels, the preferred colours, and whether scripts run."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)

    def open(self, url: str) -> None:
        """Load a page and wait until it is there."""
        self._call(f"{self._session}/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what the body of a JavaScript function returns."""
        return self._call(f"{self._session}/execute/sync", {"script": script, "args": []})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        body = {"actions": [{"type": "key", "id": "keys", "actions": actions}]}
        self._call(f"{self._session}/actions", body)

    def complaints(self) -> list[str]:
        """What the browser's console says since the last call: errors, and violations of the security policy."""
        return [entry["message"] for entry in self._call(f"{self._session}/se/log", {"type": "browser"})]

    def close(self) -> None:
        """End the session."""
        self._call(self._session, method="DELETE")

    def _call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser and end it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(port), _SECONDS)
        page = Browser(port)
        yield page
        page.close()
    finally:
        driver.terminate()
        driver.wait(timeout=_SECONDS)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5):
            return True
    except OSError:
        return False
