"""A clinic at its page, in a real browser against real nodes."""

from pathlib import Path

from playwright.sync_api import Page, Route, expect

from tests.browser.world import LETTER, World


def turn(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")


def test_a_clinic_sees_its_state_and_the_network(world: World) -> None:
    with world.visit(world.clinic) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("clinic-a")
        expect(page.get_by_text("4 of 4 members are heard from")).to_be_visible()
        expect(page.locator("svg g.member")).to_have_count(4)
        expect(page.locator("svg line.link")).to_have_count(3)
        expect(page.get_by_role("row")).to_have_count(5)


def test_a_clinic_finds_a_record_its_copies_and_who_asked(world: World) -> None:
    world.can_read("clinic-b")
    with world.visit(world.clinic) as page:
        turn(page, "Records")
        page.get_by_label("Find").fill("letter")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("table").get_by_role("link")).to_have_text([LETTER])
        page.get_by_role("table").get_by_role("link", name=LETTER).click()
        expect(page.get_by_text("clinic-a, clinic-").or_(page.get_by_text(", clinic-a"))).to_be_visible()
        page.get_by_role("link", name="Its audit log").click()
        expect(page.get_by_label("Record")).to_have_value(world.letter)


def test_an_audit_log_is_sifted_at_a_choice_and_checked_whole(world: World) -> None:
    world.can_read("clinic-b")
    with world.visit(world.clinic) as page:
        turn(page, "Audit")
        page.get_by_label("Outcome").select_option("refused")
        expect(page.get_by_role("table").get_by_role("cell", name="served")).to_have_count(0)
        expect(page.get_by_role("table").get_by_role("cell", name="refused").first).to_be_visible()
        page.get_by_role("link", name="Read the whole log again").click()
        expect(page.get_by_text("chain.")).to_be_visible()


def test_a_choice_made_before_the_scripts_have_come_counts_once_they_have(
    world: World, tmp_path: Path
) -> None:
    world.can_read("clinic-b")
    world.ask(world.patient, "my", "record", world.letter, "-o", str(tmp_path))
    with world.visit(world.clinic) as page:
        held: list[Route] = []
        page.route("**/htmx.min.js", lambda route: held.append(route))
        turn(page, "Audit")
        served = page.get_by_role("table").get_by_role("cell", name="served")
        expect(served.first).to_be_visible()
        page.get_by_label("Outcome").select_option("refused")
        for route in held:
            route.continue_()
        expect(served).to_have_count(0)
        expect(page.get_by_label("Outcome")).to_have_value("refused")


def test_a_clinic_sees_what_patients_share_with_it_as_it_comes(world: World) -> None:
    with world.visit(world.stage.clinics["clinic-d"]) as page:
        turn(page, "Shared with us")
        expect(page.get_by_text("No patient shares anything")).to_be_visible()
        share = ("my", "share", world.letter, "--with", "clinic-d", "--for", "1d")
        [given] = world.ask(world.patient, *share)["grants"]
        expect(page.get_by_role("main")).to_contain_text("can be read")
        world.ask(world.patient, "my", "stop", given["grant"])
        expect(page.get_by_text("No patient shares anything")).to_be_visible()


def test_charts_are_drawn_from_the_second_look_on(world: World) -> None:
    with world.visit(world.clinic) as page:
        turn(page, "Charts")
        expect(page.locator("svg polyline")).to_have_count(3)
        expect(page.get_by_role("row")).to_have_count(5)
