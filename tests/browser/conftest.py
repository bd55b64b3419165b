"""One network and one browser for all tests here; each leaves them as it found them."""

from collections.abc import Iterator

import pytest
import trio
from playwright.sync_api import expect, sync_playwright

from node.samples import open_samples
from tests.browser.world import (
    DOCUMENT,
    IMAGE,
    LETTER,
    PATIENCE_MS,
    SCAN,
    SUMMARY,
    World,
    add_record,
    launch,
)
from tests.dicom_world import dicom
from tests.e2e.clinics import shared_clinics
from tests.unit.test_pictures import NARRATIVE


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Running clinics, a patient with five records, and a browser."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        expect.set_options(timeout=PATIENCE_MS)
        with shared_clinics(tmp_path_factory.mktemp("page")) as stage:
            code = trio.run(stage.patient.ask, "my", "code", "--clinic", "clinic-a", "--count", "5")["code"]
            letter = add_record(stage, code, LETTER)
            add_record(stage, code, SCAN)
            summary = add_record(stage, code, SUMMARY, open_samples()[0].bytes)
            image = add_record(stage, code, IMAGE, dicom())
            document = add_record(stage, code, DOCUMENT, NARRATIVE)
            yield World(stage, browser, letter, summary, image, document)
        browser.close()
