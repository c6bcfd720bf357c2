"""Take the pictures of the pages that the documentation shows, from the output folder of a real run.

    .venv/bin/python tools/take_screenshots.py demo/out sub-01

Needs Chromium and its driver. Writes docs/figures/participant-page.png and docs/figures/group-page.png.
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "reports"))

from browser import Browser, chromium  # noqa: E402

WIDTH, HEIGHT = 1280, 1500
READY = "const box = document.querySelector('.viewer'); return !box || box.dataset.ready === 'true'"
OVERLAY = "document.querySelector('.show-saliency')?.click()"


def take(browser: Browser, page: Path, target: Path) -> None:
    """Open a page, wait for its viewer, show the saliency map, and keep the top of it."""
    browser.driver.set_window_size(WIDTH, HEIGHT)
    browser.open(page)
    WebDriverWait(browser.driver, 120).until(lambda driver: driver.execute_script(READY))
    browser.driver.execute_script(OVERLAY)
    browser.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    picture.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size // 1000} kB")


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("participant", help="sub-…")
    parser.add_argument("--figures", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    with chromium() as browser:
        for page, name in ((options.participant, "participant-page"), ("group", "group-page")):
            take(browser, options.output_dir / f"{page}.html", options.figures / f"{name}.png")


if __name__ == "__main__":
    main()
