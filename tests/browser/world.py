"""A real browser before the pages of real nodes, and what every visit has to keep to."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

from node.demo.stage import Actor, Stage
from protocol.exits import DONE, REFUSED

FOLDER: Final = Path(__file__).parent
AXE: Final = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS: Final = 60_000
# Nothing but the page is to be asked for: the browser would look for news of its own.
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
LETTER, SCAN, SUMMARY = "Letter to <b>Dr. B</b>", "Scan of the knee", "Summary of 2019"
IMAGE, DOCUMENT = "Image of a disc", "Discharge summary"
CONTENT: Final = b"What the letter says.\n" * 40


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium; skips where it or the rules are not installed, which fails in CI."""
    program = shutil.which("chromium")
    if program is None or not AXE.is_file():
        reason = "the browser tests need Debian's chromium, and once: npm ci --prefix tests/browser"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))


@dataclass(frozen=True)
class World:
    """Four clinics, a patient with five records of clinic-a, and a browser."""

    stage: Stage
    browser: Browser
    letter: str
    summary: str
    image: str
    document: str

    @property
    def patient(self) -> Actor:
        return self.stage.patient

    @property
    def clinic(self) -> Actor:
        return self.stage.clinics["clinic-a"]

    def ask(self, actor: Actor, *arguments: str) -> dict[str, Any]:
        return trio.run(actor.ask, *arguments)

    def can_read(self, clinic: str) -> bool:
        """Whether a clinic gets the letter when it asks for it."""
        get = ("record", "get", self.letter, "--purpose", "TREAT", "--as", "dr.b", "-o", "-")
        answer = trio.run(self.stage.clinics[clinic].run, *get)
        assert answer.status in (DONE, REFUSED), answer
        return answer.status == DONE

    def wait_reads(self, clinic: str, wanted: bool) -> None:
        """Returns when a clinic can read the letter, or cannot any more."""
        ends = time.monotonic() + PATIENCE_MS / 1000
        while self.can_read(clinic) is not wanted:
            assert time.monotonic() < ends, f"{clinic} reads: {not wanted}"

    @contextmanager
    def visit(self, actor: Actor, **options: Any) -> Iterator[Page]:
        """The first page of a node in a browser of its own, entered by a new link.

        Afterwards nothing may have gone elsewhere, and no script may have failed or been forbidden.
        """
        with self.browser.new_context(**options) as context:
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            wrong: list[str] = []
            page.on("console", lambda one: wrong.append(one.text) if is_wrong(one) else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(self.ask(actor, "open")["url"])
            base = page.url
            yield page
            assert wrong == []
            assert [url for url in asked if not url.startswith(base)] == []


def is_wrong(said: ConsoleMessage) -> bool:
    """Whether it is an error, other than the note that a page came with a status that is one."""
    is_status = said.text.startswith("Failed to load resource: the server responded with a status of 40")
    return said.type == "error" and not (is_status and "/static/" not in said.location["url"])


def add_record(stage: Stage, code: str, title: str, content: bytes = CONTENT, *more: str) -> str:
    """What clinic-a adds with a patient's code and `more` options; its token."""
    file = stage.root / "added"
    file.write_bytes(content)
    arguments = ("record", "add", str(file), "--title", title, "--as-is", "--for", code, *more)
    [added] = trio.run(stage.clinics["clinic-a"].ask, *arguments)["records"]
    token: str = added["token"]
    return token
