"""Each page is held to axe's rules, and to a screen of 320 pixels, on which axe finds nothing wrong."""

from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.world import AXE, World

NARROW: Final = {"width": 320, "height": 640}
PATIENT: Final = (
    "",
    "shares",
    "shares/all",
    "requests",
    "who",
    "code",
    "wallet",
    "records/ID",
    "records/ID/share",
    "records/FHIR/read",
    "records/IMAGE/read",
    "records/CDA/read",
    "nothing",
)
CLINIC: Final = ("", "records", "records/ID", "access", "audit", "audit?verify=1", "charts")
WIDTH: Final = "document.documentElement.scrollWidth"


@pytest.mark.parametrize("role", ["patient", "clinic"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_or_scrolls_sideways(world: World, role: str, scheme: str) -> None:
    records = {"ID": world.letter, "FHIR": world.summary, "IMAGE": world.image, "CDA": world.document}
    actor, pages = (world.patient, PATIENT) if role == "patient" else (world.clinic, CLINIC)
    with world.visit(actor, color_scheme=scheme, viewport=NARROW) as page:
        base, found = page.url, {}
        for path in pages:
            for word, token in records.items():
                path = path.replace(word, token)
            answer = page.goto(base + path)
            assert answer is not None
            assert answer.ok or path == "nothing"
            found[path] = broken(page)
        assert {path: rules for path, rules in found.items() if rules} == {}


def test_what_a_form_leads_to_is_held_to_the_same(world: World) -> None:
    with world.visit(world.patient, viewport=NARROW) as page:
        base, found = page.url, {}

        def press(role: Literal["button", "link"], name: str, shown: str) -> None:
            page.get_by_role(role, name=name).click()
            expect(page.get_by_role("main")).to_contain_text(shown)
            found[name] = broken(page)

        page.goto(f"{base}code")
        press("button", "Make the code", "As text")
        page.goto(f"{base}records/{world.letter}/share")
        press("button", "Share this record", "clinic-b can read this record")
        press("link", "Stop", "Stop sharing?")
        press("button", "Stop clinic-b", "Stopped:")
        press("button", "Leave", "This page is locked")
        assert {name: rules for name, rules in found.items() if rules} == {}


def broken(page: Page) -> list[str]:
    """The rules that a page breaks, each with the first element that does."""
    page.evaluate(AXE.read_text("utf-8"))
    result: dict[str, Any] = page.evaluate("axe.run()")
    found = [f"{one['id']}: {one['nodes'][0]['html']}" for one in result["violations"]]
    wide = page.evaluate(WIDTH)
    return found + ([f"it is {wide} pixels wide"] if wide > NARROW["width"] else [])
