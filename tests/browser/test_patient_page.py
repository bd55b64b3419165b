"""A patient at her page, in a real browser against real nodes: every flow by click, and without a mouse."""

import secrets
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from node.samples import open_samples
from tests.browser.test_accessible import NARROW, broken
from tests.browser.world import CONTENT, DOCUMENT, IMAGE, LETTER, SCAN, SUMMARY, World, add_record
from tests.dicom_world import SIDE, dicom, write_study

SHARED: Final = "clinic-b can read this record until"


def record(page: Page, title: str) -> None:
    """Goes to a record from anywhere."""
    page.get_by_role("navigation").get_by_role("link", name="Records").click()
    page.get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def test_a_record_is_found_as_one_types_and_saved_as_it_came_in(world: World, tmp_path: Path) -> None:
    with world.visit(world.patient) as page:
        titles = page.locator(".record h3")
        expect(titles.filter(has_text=SCAN)).to_have_count(1)
        page.get_by_role("searchbox").press_sequentially("letter clinic-a")
        expect(titles).to_have_text([LETTER])
        titles.get_by_role("link").click()
        with page.expect_download() as saving:
            page.get_by_role("link", name="Download the original").click()
        file = tmp_path / "saved"
        saving.value.save_as(file)
        assert file.read_bytes() == CONTENT
        assert saving.value.suggested_filename.startswith(world.letter[:12])


def test_a_bundle_is_read_out_with_what_is_older_folded_away(world: World) -> None:
    with world.visit(world.patient) as page:
        record(page, SUMMARY)
        page.get_by_role("link", name="Read it here").click()
        expect(page.get_by_text("about Aaron697 Stiedemann542, 1946-03-29")).to_be_visible()
        expect(page.get_by_role("heading", level=2).first).to_have_text("Medicines 10")
        expect(page.get_by_text("Body Height").first).to_be_visible()
        older = page.get_by_text("362 older ones of Results")
        hidden = page.get_by_text("182.96977857602644 cm").last
        expect(hidden).not_to_be_visible()
        older.click()
        expect(hidden).to_be_visible()
        with page.expect_download() as saving:
            page.get_by_role("link", name="Download the original").click()
        assert saving.value.path().read_bytes() == open_samples()[0].bytes


def test_an_image_shows_its_picture_and_a_document_its_text(world: World) -> None:
    with world.visit(world.patient) as page:
        record(page, IMAGE)
        page.get_by_role("link", name="Read it here").click()
        picture = page.get_by_role("img")
        expect(picture).to_be_visible()
        assert picture.evaluate(SHADES) == {"side": SIDE, "middle": 255, "corner": 0}
        with page.expect_download() as saving:
            page.get_by_role("link", name="Download the original").click()
        assert saving.value.path().read_bytes() == dicom()
        record(page, DOCUMENT)
        page.get_by_role("link", name="Read it here").click()
        expect(page.get_by_role("heading", level=2, name="Allergies")).to_be_visible()
        expect(page.get_by_text("Penicillin | severe")).to_be_visible()


def test_a_study_of_a_folder_shows_its_images_and_comes_back_as_files(world: World, tmp_path: Path) -> None:
    title = f"Study {secrets.token_hex(4)}"
    files = write_study(tmp_path / "knee", 3)
    code = world.ask(world.patient, "my", "code", "--clinic", "clinic-a")["code"]
    [added] = world.ask(
        world.clinic, "record", "add", str(tmp_path / "knee"), "--title", title, "--for", code
    )["records"]
    assert (added["type"], added["structure"]) == ("study", "sound")
    with world.visit(world.patient, viewport=NARROW) as page:
        record(page, title)
        page.get_by_role("link", name="Read it here").click()
        pictures = page.get_by_role("img")
        expect(pictures).to_have_count(3)
        assert broken(page) == []
        assert pictures.nth(2).evaluate(SHADES) == {"side": SIDE, "middle": 255, "corner": 0}
        expect(page.get_by_text("letter.txt")).to_be_visible()
    saved = world.ask(world.patient, "my", "record", added["token"], "-o", str(tmp_path))
    for path, content in files.items():
        assert (Path(saved["path"]) / path).read_bytes() == content


def test_two_clicks_share_and_two_stop_and_both_are_true(world: World) -> None:
    with world.visit(world.patient) as page:
        assert not world.can_read("clinic-b")
        page.get_by_role("link", name=f"Share {LETTER}").click()
        page.get_by_role("button", name="Share this record").click()
        expect(page.get_by_role("status")).to_contain_text(SHARED)
        world.wait_reads("clinic-b", True)
        page.get_by_role("link", name="Stop").click()
        page.get_by_role("button", name="Stop clinic-b").click()
        expect(page.get_by_role("status")).to_contain_text("of 4 clinics refuse clinic-b from now on")
        world.wait_reads("clinic-b", False)
        expect(page.get_by_text("You share nothing")).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Who read").click()
        expect(page.get_by_text("dr.b of clinic-b read it, for treatment.").first).to_be_visible()
        expect(page.get_by_text("dr.b of clinic-b asked for it and was refused").first).to_be_visible()


def test_who_changes_her_mind_shares_nothing(world: World) -> None:
    with world.visit(world.patient, viewport=NARROW) as page:
        record(page, LETTER)
        page.get_by_role("link", name="Share", exact=True).click()
        page.get_by_role("radio", name="clinic-c").check()
        page.get_by_role("radio", name="7 days").check()
        page.get_by_role("button", name="See who could read it then").click()
        assert broken(page) == []
        new = page.get_by_role("listitem").filter(has_text="by this share")
        expect(new).to_contain_text("clinic-c, for treatment")
        expect(new).to_contain_text("cannot, because it has run out")
        expect(page.get_by_role("radio", name="clinic-c")).to_be_checked()
        page.get_by_role("link", name="Do not share").click()
        expect(page.get_by_text("Only you can read it.")).to_be_visible()
        grants = world.ask(world.patient, "my", "shares")["grants"]
        assert [one for one in grants if one["state"] != "ended"] == []


def test_sharing_by_kind_goes_on_with_what_comes_until_it_is_stopped(world: World) -> None:
    with world.visit(world.patient, viewport=NARROW) as page:
        page.get_by_role("navigation").get_by_role("link", name="Sharing").click()
        page.get_by_role("link", name="Share by kind").click()
        page.get_by_role("radio", name="all records", exact=True).check()
        page.get_by_label("Since the day").fill("2026-01-31")
        page.get_by_role("checkbox", name="also those that come").check()
        page.get_by_role("group", name="With whom").get_by_role("radio", name="clinic-c").check()
        page.get_by_role("radio", name="7 days").check()
        page.get_by_role("button", name="Share them").click()
        expect(page.get_by_role("status")).to_contain_text("What comes is shared too, until you stop it.")
        assert broken(page) == []
        [provision] = world.ask(world.patient, "my", "shares")["provisions"]
        assert (provision["grantee_name"], provision["kind"]) == ("clinic-c", "all")
        world.wait_reads("clinic-c", True)
        page.get_by_role("link", name="Stop clinic-c being let read what comes").click()
        page.get_by_role("button", name="Stop clinic-c").click()
        expect(page.get_by_role("status")).to_contain_text("Records that come are not shared any more.")
        world.wait_reads("clinic-c", False)
        expect(page.get_by_text("You share nothing")).to_be_visible()


def test_a_code_of_the_page_brings_a_record_that_appears_by_itself(world: World) -> None:
    with world.visit(world.patient) as first:
        second = first.context.new_page()
        second.goto(first.url)
        second.get_by_role("link", name="Receive").click()
        second.get_by_role("button", name="Make the code").click()
        expect(second.locator("figure svg.qr")).to_be_visible()
        code = second.get_by_label("As text").input_value()
        title = f"By the page {secrets.token_hex(4)}"
        add_record(world.stage, code, title)
        expect(first.locator(".record h3").first).to_have_text(title)


def test_a_correction_and_what_it_corrects_are_one_record_with_a_history(world: World) -> None:
    wrong, right = (f"{word} knee {secrets.token_hex(4)}" for word in ("Left", "Right"))
    code = world.ask(world.patient, "my", "code", "--clinic", "clinic-a", "--count", "2")["code"]
    old = add_record(world.stage, code, wrong)
    add_record(world.stage, code, right, CONTENT, "--amends", old, "--keep-until", "2040-01-31")
    with world.visit(world.patient, viewport=NARROW) as page:
        entry = page.locator(".record").filter(has_text=right)
        expect(entry).to_have_count(1)
        expect(page.locator(".record h3").filter(has_text=wrong)).to_have_count(0)
        entry.get_by_role("link", name=wrong).click()
        expect(page.get_by_text("This is an earlier version.")).to_be_visible()
        assert broken(page) == []
        page.get_by_role("main").get_by_role("link", name=right).first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(right)
        expect(page.get_by_text("31 Jan 2040: clinic-a has to keep it")).to_be_visible()
        expect(page.get_by_role("link", name=wrong)).to_be_visible()
        assert broken(page) == []


def test_a_wallet_says_how_it_is(world: World) -> None:
    with world.visit(world.patient) as page:
        page.get_by_role("link", name="Wallet").click()
        expect(page.get_by_text("4 of 4 clinics can be reached.")).to_be_visible()


def test_everything_is_done_by_keyboard_alone(world: World) -> None:
    with world.visit(world.patient) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        reach(page, f"Share {LETTER}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Share")
        reach(page, "clinic-b")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name="clinic-c")).to_be_checked()
        reach(page, "Share this record")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("clinic-c can read this record")
        reach(page, "Stop")
        page.keyboard.press("Enter")
        reach(page, "Stop clinic-c")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("refuse clinic-c from now on")
        reach(page, "Leave")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("This page is locked")


def test_without_javascript_all_can_be_read_found_and_shared(world: World) -> None:
    with world.visit(world.patient, java_script_enabled=False) as page:
        page.get_by_role("searchbox").fill("letter")
        page.get_by_role("button", name="Find").click()
        expect(page.locator(".record h3")).to_have_text([LETTER])
        for name in ("Sharing", "Who read", "Receive", "Wallet"):
            link = page.get_by_role("navigation").get_by_role("link", name=name)
            link.click()
            expect(link).to_have_attribute("aria-current", "page")
        record(page, LETTER)
        page.get_by_role("link", name="Share", exact=True).click()
        page.get_by_role("button", name="Share this record").click()
        expect(page.get_by_role("status")).to_contain_text(SHARED)
        page.get_by_role("link", name="Stop").click()
        page.get_by_role("button", name="Stop clinic-b").click()
        expect(page.get_by_text("You share nothing")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_who_left_finds_nothing_by_going_back(world: World, scripts: bool) -> None:
    with world.visit(world.patient, java_script_enabled=scripts) as page:
        record(page, LETTER)
        page.get_by_role("button", name="Leave").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("This page is locked")
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("This page is locked")


def reach(page: Page, name: str) -> None:
    """Presses Tab until what a screen reader says of the focus begins with `name`."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and said(focused.evaluate(SPOKEN)).startswith(name):
            return
    pytest.fail(f"no key leads to {name!r}")


# What a picture shows, asked of the browser that decoded it.
SHADES: Final = """async one => {
  await one.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = one.naturalWidth;
  const context = canvas.getContext("2d");
  context.drawImage(one, 0, 0);
  const shade = at => context.getImageData(at, at, 1, 1).data[0];
  return {side: one.naturalWidth, middle: shade(one.naturalWidth / 2), corner: shade(0)};
}"""
SPOKEN: Final = "one => one.labels && one.labels.length ? one.labels[0].textContent : one.textContent"


def said(text: str) -> str:
    return " ".join(text.split())
