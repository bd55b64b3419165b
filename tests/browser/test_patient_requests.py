"""A clinic asks, and the patient answers by click: a part of it for less time, and then no."""

from playwright.sync_api import Page, expect

from tests.browser.test_accessible import NARROW, broken
from tests.browser.world import LETTER, World

ASKER = "clinic-c"


def ask(world: World) -> str:
    """A request of a clinic for all that she has; its id."""
    code = world.ask(world.patient, "my", "code", "--clinic", ASKER)["code"]
    asked = ("--patient", code, "--records", "all", "--purpose", "TREAT", "--for", "30d")
    request: str = world.ask(world.stage.clinics[ASKER], "access", "ask", *asked)["request"]["request"]
    return request


def answer(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Requests").click()
    expect(page.get_by_text("asks to read all records for treatment, for 30 d.").first).to_be_visible()
    assert broken(page) == []
    page.get_by_role("link", name=f"Answer {ASKER}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"May {ASKER} read this?")
    assert broken(page) == []


def state(world: World, request: str) -> str:
    shown = world.ask(world.stage.clinics[ASKER], "access", "show", request)["request"]
    return str(shown["state"])


def test_what_is_asked_appears_and_goes_by_itself(world: World) -> None:
    with world.visit(world.patient) as page:
        page.get_by_role("navigation").get_by_role("link", name="Requests").click()
        expect(page.get_by_text("Nobody waits for an answer of yours.")).to_be_visible()
        request = ask(world)
        expect(page.get_by_role("link", name=f"Answer {ASKER}")).to_be_visible()
        world.ask(world.patient, "my", "decline", request)
        expect(page.get_by_text("Nobody waits for an answer of yours.")).to_be_visible()


def test_less_than_asked_is_allowed_and_then_nothing(world: World) -> None:
    with world.visit(world.patient, viewport=NARROW) as page:
        request = ask(world)
        answer(page)
        for box in page.get_by_role("checkbox").all():
            box.uncheck()
        page.get_by_role("checkbox", name=LETTER).check()
        page.get_by_role("radio", name="7 days").check()
        page.get_by_role("button", name="Allow it").click()
        expect(page.get_by_role("status")).to_contain_text(f"{ASKER} can read this record until")
        assert state(world, request) == "approved"
        world.wait_reads(ASKER, True)
        grants = world.ask(world.patient, "my", "shares")["grants"]
        [grant] = [one["grant"] for one in grants if one["state"] == "live"]
        world.ask(world.patient, "my", "stop", grant)

        request = ask(world)
        answer(page)
        page.get_by_role("button", name="Say no").click()
        expect(page.get_by_role("status")).to_have_text(f"You said no to {ASKER}.")
        assert state(world, request) == "declined"
        world.wait_reads(ASKER, False)
    with world.visit(world.stage.clinics[ASKER], viewport=NARROW) as page:
        page.get_by_role("navigation").get_by_role("link", name="Shared with us").click()
        expect(page.get_by_text("The patient said no.").first).to_be_visible()
        assert broken(page) == []
