"""The page in a real browser: what a rater does, and what is then on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from epvs_bids.reports.rating.server import RatingServer

from ..browser import CHROMIUM, DRIVER, chromium
from .phantom import SPOT, scanner_point

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or its driver is missing"),
]
Serve = Callable[..., RatingServer]
WINDOW = (1366, 768)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as opened:
        opened.driver.set_window_size(*WINDOW)
        yield opened.driver


class Page:
    """What a rater sees and does."""

    def __init__(self, driver: Chrome, server: RatingServer) -> None:
        self.driver = driver
        driver.get_log("browser")
        driver.get_log("performance")
        driver.get(server.url)

    def element(self, name: str):  # noqa: ANN201 - selenium's WebElement
        return self.driver.find_element("id", name)

    def wait(self, condition: Callable[[], object]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda _: condition())

    def start(self, rater: str) -> None:
        self.element("rater").send_keys(rater, "\n")
        self.loaded()

    def loaded(self) -> None:
        self.wait(lambda: not self.element("loading").is_displayed() and self.element("slice-text").text)

    def done(self) -> None:
        """Press Enter once the scan has been there for long enough."""
        self.wait(self.element("done").is_enabled)
        self.keys("\n")

    def saved(self) -> None:
        self.wait(lambda: self.element("saved").text == "Saved.")

    def keys(self, *keys: str) -> None:
        self.element("view").send_keys(*keys)

    def count(self) -> str:
        return str(self.element("count").text)

    def click(self, x: float, y: float) -> None:
        """Click at CSS pixels of the canvas."""
        from selenium.webdriver import ActionChains

        view = self.element("view")
        size = view.size
        ActionChains(self.driver).move_to_element_with_offset(
            view, round(x - size["width"] / 2), round(y - size["height"] / 2)
        ).click().perform()

    def pixels(self) -> np.ndarray:
        """Grey levels of the canvas, (height, width)."""
        script = """const c = document.getElementById("view");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            let text = ""; for (let i = 1; i < d.length; i += 4) text += String.fromCharCode(d[i]);
            return [c.width, c.height, btoa(text)];"""
        import base64

        width, height, text = self.driver.execute_script(script)
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)

    def spot(self) -> tuple[float, float]:
        """Place (x, y) of the bright spot on the left of the screen, which is the right of the person."""
        pixels = self.pixels()
        bright = np.argwhere(pixels[:, : int(pixels.shape[1] * 0.45)] > 235)
        return float(bright[:, 1].mean() + 0.5), float(bright[:, 0].mean() + 0.5)


def marks_of(server: RatingServer, scan: str) -> pd.DataFrame:
    return pd.read_csv(server.store.marks_path(server.store.scans[scan]), sep="\t")


def test_a_rater_marks_removes_resumes_and_finishes(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    assert "at the commissure" in page.element("slice-text").text
    first = server.store.reading("A", 0)[1]

    page.click(*page.spot())
    page.saved()
    assert page.count() == "1"
    page.click(500, 500)
    page.wait(lambda: page.count() == "2")
    page.click(502, 500)  # on the mark
    page.wait(lambda: page.count() == "1")
    page.keys("z")
    page.wait(lambda: page.count() == "2")
    page.keys("z")
    page.wait(lambda: page.count() == "1")
    page.saved()
    assert not server.store.counts_path.exists()

    browser.refresh()  # as after a crash
    page.start("A")
    assert page.count() == "1"
    page.done()
    page.wait(lambda: "scan 2 of 3" in page.element("progress").text)
    page.loaded()

    marks = marks_of(server, first.name)
    expected = scanner_point(first.image, SPOT)
    assert np.linalg.norm(marks[["x", "y", "z"]].to_numpy() - expected) < 0.35  # less than a voxel
    page.done()
    page.wait(lambda: "scan 3 of 3" in page.element("progress").text)
    page.loaded()
    page.done()
    page.wait(lambda: page.element("finish").is_displayed())
    assert str(server.store.counts_path) in page.element("finish").text
    table = pd.read_csv(server.store.counts_path, sep="\t", na_values="n/a")
    assert sorted(table["A1"]) == [0, 0, 1]
    dictionary = json.loads(server.store.counts_path.with_suffix(".json").read_text())
    assert set(dictionary) == {"participant_id", "session_id", "A1"}


def states(server: RatingServer) -> list[str]:
    found: list[str] = server.store.overview("A")["states"]
    return found


def test_a_double_click_finishes_one_scan(output: Path, serve: Serve, browser: Chrome) -> None:
    from selenium.webdriver import ActionChains

    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    page.wait(page.element("done").is_enabled)
    ActionChains(browser).double_click(page.element("done")).perform()
    page.wait(lambda: "scan 2 of 3" in page.element("progress").text)
    page.loaded()
    assert not page.element("done").is_enabled()  # nobody has looked at it yet
    page.keys("\n")
    page.wait(page.element("done").is_enabled)
    click = "arguments[0].dispatchEvent(new MouseEvent('click', {detail: arguments[1]}))"
    browser.execute_script(click, page.element("done"), 2)
    page.keys("h")
    assert "scan 2 of 3" in page.element("progress").text
    assert states(server) == ["done", "open", "open"]
    browser.execute_script(click, page.element("done"), 1)
    page.wait(lambda: states(server) == ["done", "done", "open"])


def test_a_key_that_is_held_scrolls_but_does_not_finish(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    page.wait(page.element("done").is_enabled)
    hold = """for (const repeat of [false, true, true]) document.getElementById("view").dispatchEvent(
            new KeyboardEvent("keydown", {key: arguments[0], repeat, bubbles: true}));"""
    browser.execute_script(hold, "w")
    assert "1.5 mm above" in page.element("slice-text").text
    browser.execute_script(hold, "x")
    assert page.element("unratable").get_attribute("aria-pressed") == "true"
    page.keys("x")
    again = hold.replace("[false, true, true]", "[true, true]")
    browser.execute_script(again, "Enter")
    page.saved()
    assert states(server) == ["open", "open", "open"]
    browser.execute_script(hold, "Enter")
    page.wait(lambda: "scan 2 of 3" in page.element("progress").text)
    page.loaded()
    page.wait(page.element("done").is_enabled)
    browser.execute_script(again, "Enter")
    assert states(server) == ["done", "open", "open"]


def test_an_older_window_says_that_it_is_one(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        other = Page(browser, server)
        other.start("A")
        other.click(*other.spot())
        other.done()
        other.wait(lambda: "scan 2 of 3" in other.element("progress").text)
        browser.switch_to.window(first)
        page.click(500, 500)
        page.wait(lambda: "another window" in page.element("banner").text)
    finally:
        browser.switch_to.window(browser.window_handles[-1])
        browser.close()
        browser.switch_to.window(first)
    assert server.store.reading("A", 0)[0].count == "1"


def test_scrolling_zoom_and_the_counted_slice(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    here = page.pixels()
    page.keys("w", "w", "w", "w")
    assert "2.0 mm above" in page.element("slice-text").text
    assert page.pixels().max() == 255
    assert (page.pixels() != here).any()  # the spot is 1.5 mm high
    page.click(500, 400)
    assert page.count() == "0"
    assert "Only looking" in page.element("banner").text

    page.keys("r")  # count here instead
    page.saved()
    page.click(500, 400)
    page.wait(lambda: page.count() == "1")
    page.keys("+", "+")
    page.click(300, 300)
    page.wait(lambda: page.count() == "2")
    page.saved()
    reading, _ = server.store.reading("A", 0)
    assert [mark[2] for mark in reading.marks] == [-3.0, -3.0]
    assert reading.level == -3.0
    page.keys("c", "s")
    assert page.element("view").get_attribute("class") == "elsewhere"


def test_epvs_that_lie_closely_are_marked_apart(output: Path, serve: Serve, browser: Chrome) -> None:
    page = Page(browser, serve(output))
    page.start("A")
    x, y = page.spot()
    page.click(x, y)
    page.wait(lambda: page.count() == "1")
    scale = min(1062 / 60.5, page.element("view").size["height"] / 64.5)  # pixels a mm: all is seen
    page.click(x + 1.3 * scale, y)
    page.wait(lambda: page.count() == "2")
    page.click(x + 0.4 * scale, y)  # inside of the ring of the first
    page.wait(lambda: page.count() == "1")
    page.saved()


def test_the_wheel_turns_slice_by_slice_on_a_touch_pad_too(
    output: Path, serve: Serve, browser: Chrome
) -> None:
    page = Page(browser, serve(output))
    page.start("A")
    turn = "document.getElementById('view').dispatchEvent(new WheelEvent('wheel', {deltaY: arguments[0]}))"
    browser.execute_script(turn, -120)  # a notch of a mouse
    assert "0.5 mm above" in page.element("slice-text").text
    for _ in range(9):
        browser.execute_script(turn, -10)
    assert "1.0 mm above" in page.element("slice-text").text
    browser.execute_script(turn, -10)
    assert "1.5 mm above" in page.element("slice-text").text


def test_keyboard_alone(output: Path, serve: Serve, browser: Chrome) -> None:
    from selenium.webdriver import Keys

    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    page.keys(*[Keys.ARROW_LEFT] * 4, *[Keys.ARROW_UP] * 2, " ")
    page.wait(lambda: page.count() == "1")
    page.saved()
    assert server.store.reading("A", 0)[0].marks == ((2.0, -1.0, -5.0),)  # its middle is at y −2
    page.keys(" ")
    page.wait(lambda: page.count() == "0")
    page.keys("x")
    page.wait(lambda: page.element("unratable").get_attribute("aria-pressed") == "true")
    page.saved()
    assert server.store.reading("A", 0)[0].state == "unratable"


def test_window_changes_what_is_seen(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    before = page.pixels().mean()
    browser.execute_script(
        "const b = document.getElementById('brightness'); b.value = 90; b.dispatchEvent(new Event('input'));"
    )
    assert page.pixels().mean() > before + 20


def test_what_could_not_be_saved_is_said(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.start("A")
    server.store.counts_path.mkdir(parents=True)  # a folder in the way of the table
    page.done()
    page.wait(lambda: "Not saved" in page.element("banner").text)
    assert "scan 1 of 3" in page.element("progress").text
    server.store.counts_path.rmdir()
    page.done()
    page.wait(lambda: "scan 2 of 3" in page.element("progress").text)


def test_a_scan_that_cannot_be_read_is_named_and_skipped(output: Path, serve: Serve, browser: Chrome) -> None:
    server = serve(output)
    broken = server.store.reading("A", 0)[1].image
    broken.write_bytes(broken.read_bytes()[:2000])
    page = Page(browser, server)
    page.element("rater").send_keys("A", "\n")
    page.wait(lambda: "can't be read" in page.element("banner").text)
    page.keys("n")
    page.wait(lambda: "scan 2 of 3" in page.element("progress").text)
    page.loaded()
    assert not page.element("banner").is_displayed()


def test_nothing_leaves_this_computer_and_the_console_is_silent(
    output: Path, serve: Serve, browser: Chrome
) -> None:
    server = serve(output)
    page = Page(browser, server)
    page.element("rater").send_keys("A")
    page.start("")
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"
    ]
    assert len(urls) >= 5
    assert all(url.startswith((server.url, "data:")) for url in urls)


def test_a_wrong_name_is_explained(output: Path, serve: Serve, browser: Chrome) -> None:
    page = Page(browser, serve(output))
    browser.execute_script("document.getElementById('rater').removeAttribute('pattern');")
    page.element("rater").send_keys("<img src=x onerror=alert(1)>", "\n")
    page.wait(lambda: "<img src=x" in page.element("start-error").text)
    assert not browser.find_elements("tag name", "img")
