"""A headless Chromium, driven by Selenium with the installed driver: nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

SECONDS = 60.0
"""Deadline of a wait, long enough for a busy machine."""

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def missing() -> str:
    """Return why there is no browser to test in; empty if there is one."""
    if shutil.which("chromedriver") is None:
        return "no chromedriver: install chromium and chromium-driver to test the page in a browser"
    return "" if _chromium() else "no Chromium to test the page in"


class Browser(webdriver.Chrome):
    """A Chromium with one page, started with the driver and the browser on the path."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _chromium() or ""
        for flag in _FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Without an explicit path, Selenium would look for a driver on the network.
        super().__init__(options, Service(shutil.which("chromedriver")))
        self.set_page_load_timeout(SECONDS)

    def set_screen(self, width: int, height: int, dark: bool = False, scripts: bool = True) -> None:
        """Set the size of the window in CSS pixels, the preferred colours, and whether scripts run."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        ActionChains(self, duration=0).send_keys(*keys).perform()

    def complaints(self) -> list[str]:
        """Return the console's messages since the last call: errors, and violations of the security policy."""
        return [entry["message"] for entry in self.get_log("browser")]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser and end it afterwards."""
    page = Browser()
    try:
        yield page
    finally:
        page.quit()


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)
