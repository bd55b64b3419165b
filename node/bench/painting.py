"""When a real browser has painted a page: what it tells of itself, by the W3C's Paint Timing.

It needs Debian's Chromium and playwright, which is no part of the program: whoever works on it has it.
"""

import shutil
from collections.abc import Sequence
from typing import Any, Final

_ENTRY: Final = "performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)"
_PAINTED: Final = "() => performance.getEntriesByName('first-contentful-paint').length > 0"
_OPTIONS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


def measure_paints(link: str, paths: Sequence[str], rounds: int) -> list[list[float]] | None:
    """Milliseconds from the click to the first paint with content, a list for each of `paths`, which are
    loaded in turn after entering by `link`; None where no browser is installed."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if program is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        try:
            page = browser.new_page()
            page.goto(link)
            base = page.url.rstrip("/")
            for path in paths:  # The first load of each finds nothing in the browser's caches.
                _paint_ms(page, base + path)
            found = [[_paint_ms(page, base + path) for path in paths] for _ in range(rounds)]
        finally:
            browser.close()
    return [list(times) for times in zip(*found, strict=True)]


def _paint_ms(page: Any, url: str) -> float:
    page.goto(url)
    page.wait_for_function(_PAINTED)
    return float(page.evaluate(_ENTRY)[0])
