"""A headless Chromium that remembers what it logged and which addresses it asked for."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--window-size=1280,1000",
    "--force-device-scale-factor=1",
    "--force-prefers-reduced-motion",  # pages do not scroll smoothly under what is clicked
)

_TO_MIDDLE = "arguments[0].scrollIntoView({block: 'center', inline: 'nearest', behavior: 'instant'})"
_ON_TOP = """
    const box = arguments[0].getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return !arguments[0].disabled && top !== null && arguments[0].contains(top);"""


class Browser:
    """A browser window.

    Parameters
    ----------
    driver
        Selenium's driver, with performance and console logs on.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path) -> None:
        """Open a page of the disk."""
        self.driver.get(page.resolve().as_uri())

    def click(self, element: WebElement) -> None:
        """Click an element once it lies in the middle of the window and nothing lies over it."""
        self.driver.execute_script(_TO_MIDDLE, element)
        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(_ON_TOP, element)
        )
        element.click()

    def processor_seconds(self) -> float:
        """Processor time that the browser has used since its start, over all of its processes."""
        service = self.driver.service.process
        processes = psutil.Process(service.pid).children(recursive=True)
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    def complaints(self) -> list[str]:
        """Console messages at the level of a warning or an error since the last call."""
        messages = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]
        # The software renderer of a machine without a GPU comments on its own speed.
        return [message for message in messages if "GPU stall due to ReadPixels" not in message]

    def requests(self) -> list[str]:
        """Addresses that pages of the disk asked for since the last call, but for data that they hold."""
        addresses = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            asked = message.get("params", {})
            if message["method"] == "Network.requestWillBeSent" and asked["documentURL"].startswith("file:"):
                addresses.append(asked["request"]["url"])
        return [address for address in addresses if not address.startswith(("data:", "blob:"))]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it."""
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        driver.set_script_timeout(180)
        try:
            yield Browser(driver)
        finally:
            driver.quit()
