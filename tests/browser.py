"""A real Chromium, driven by Debian's chromedriver: for tests of the report, and for the pictures of the documentation.

It writes nothing outside ``profile`` and asks nobody for updates. What a page asks the network for is in ``requests()``, what it
complained about in ``complaints()``.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PATIENCE = 20.0
"""Seconds that a page may take to be drawn, on a busy machine."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)


def missing() -> str:
    """Return what is not installed here, or nothing."""
    return " and ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None)


class Browser:
    """One page at a time, at any width, light or dark."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file and wait until its script has run."""
        self.open_address(path.resolve().as_uri(), width=width, height=height, dark=dark)

    def open_address(
        self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Open an address, from an empty page, and wait until its script has run."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
        self.logged: list[dict[str, Any]] = []
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(address)
        end = time.monotonic() + PATIENCE
        while self.js("return document.documentElement.dataset.ready") != "true":
            assert time.monotonic() < end, self.complaints()
            time.sleep(0.01)

    def js(self, script: str, *args: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *args)

    def keys(self, *typed: str) -> None:
        """Type on the keyboard, into whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*typed).perform()

    def type_into(self, field: str, text: str) -> None:
        """Replace what stands in a field."""
        found = self.driver.find_element("id", field)
        found.clear()
        found.send_keys(text)
        self.js("document.getElementById(arguments[0]).dispatchEvent(new Event('input'))", field)

    def requests(self) -> list[str]:
        """Return every address that was asked for since the page was opened, but its own."""
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        asked = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if url != self.driver.current_url.partition("#")[0]]

    def complaints(self) -> list[str]:
        """Return what was written to the console: errors, warnings, broken policies."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def render_trace(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, or of what is seen of it."""
        clip = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})[
            "cssContentSize" if whole else "cssVisualViewport"
        ]
        area = {
            "x": 0,
            "y": 0,
            "width": clip.get("width") or clip["clientWidth"],
            "height": clip.get("height") or clip["clientHeight"],
            "scale": 1,
        }
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": area}
        )
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
