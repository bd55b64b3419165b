"""A patient at the terminal: her phone is lost, and the 24 words on her paper bring everything back."""

from pathlib import Path

import pytest
import trio

from node.demo.stage import Actor, Stage
from protocol.exits import DONE, FAILED, REFUSED, USAGE
from tests.e2e.clinics import PATIENCE_S, POLL_S


def device(stage: Stage, name: str) -> Actor:
    """Another device of some patient, which has a configuration and nothing else."""
    config = stage.root / f"{name}.toml"
    text = stage.patient.config.read_text()
    assert 'data_dir = "data/patient"' in text
    config.write_text(text.replace("data/patient", f"data/{name}"))
    return Actor("patient", config, stage.root / "data" / name)


def paper(stage: Stage, words: str, name: str = "paper") -> Path:
    file = stage.root / name
    file.touch(mode=0o600)
    file.write_text(words + "\n")
    return file


async def add(stage: Stage, patient: Actor, clinic: str, title: str) -> str:
    """A record that a clinic adds with the patient's code; its token."""
    code = (await patient.ask("my", "code", "--clinic", clinic))["code"]
    file = stage.root / title
    file.write_bytes(title.encode() * 100)
    arguments = ("record", "add", str(file), "--title", title, "--for", code)
    [added] = (await stage.clinics[clinic].ask(*arguments))["records"]
    assert added["final"]
    token: str = added["token"]
    return token


async def can_read(stage: Stage, clinic: str, token: str) -> bool:
    get = ("record", "get", token, "--purpose", "TREAT", "--as", "dr.b", "-o", "-")
    answer = await stage.clinics[clinic].run(*get)
    assert answer.status in (DONE, REFUSED), answer
    return answer.status == DONE


async def reads_at_last(stage: Stage, clinic: str, token: str) -> None:
    """Returns once a clinic found the grant that it was given."""
    with trio.fail_after(PATIENCE_S):
        while not await can_read(stage, clinic, token):  # noqa: ASYNC110
            await trio.sleep(POLL_S)


async def test_a_lost_phone_is_replaced_from_the_words_and_its_keys_do_nothing(stage: Stage) -> None:
    phone, other = device(stage, "phone"), device(stage, "phone-2")
    words = paper(stage, (await phone.ask("init"))["words"])
    first = await add(stage, phone, "clinic-a", "Letter")
    second = await add(stage, phone, "clinic-b", "Scan")
    [ended] = (await phone.ask("my", "share", first, "--with", "clinic-c", "--for", "1d"))["grants"]
    await reads_at_last(stage, "clinic-c", first)
    typed = ("--words-file", str(words))
    found = await other.ask("keys", "restore", *typed)
    assert (found["device"], found["records"], found["grants"]) == (0, 2, 1)
    [share] = (await other.ask("my", "shares"))["grants"]
    assert (share["grant"], share["grantee_name"], share["state"]) == (ended["grant"], "clinic-c", "live")
    records = (await other.ask("my", "records"))["records"]
    assert {one["token"]: one["title"] for one in records} == {first: "Letter", second: "Scan"}
    saved = stage.root / "opened"
    assert (await other.run("my", "record", first, "-o", str(saved))).status == DONE
    assert saved.read_bytes() == b"Letter" * 100
    changed = await other.ask("my", "lost-phone", "--yes", *typed)
    assert changed["device"] == 1
    own, lost = await other.ask("keys", "show"), await phone.ask("keys", "show")
    assert (own["id"], own["device"], lost["device"]) == (lost["id"], 1, 0)
    assert {one["token"]: one["final"] for one in changed["records"]} == {first: True, second: True}
    # What the thief shares and has is of no use: the old device is told that nothing is its own.
    assert (await phone.ask("my", "records"))["records"] == []
    stolen = await phone.run("my", "share", second, "--with", "clinic-d", "--for", "1d")
    assert stolen.status == REFUSED
    assert (await phone.run("my", "record", first, "-o", str(saved))).status == REFUSED
    assert (await phone.run("my", "stop", ended["grant"])).status == REFUSED
    assert not await can_read(stage, "clinic-c", first)
    # The new one goes on: a record comes to its new keys, and sharing is as before.
    third = await add(stage, other, "clinic-a", "After")
    assert len((await other.ask("my", "records"))["records"]) == 3
    for token in (first, third):
        await other.ask("my", "share", token, "--with", "clinic-c", "--for", "1d")
        await reads_at_last(stage, "clinic-c", token)


async def test_what_was_shared_can_be_stopped_and_kept_on_a_new_device(stage: Stage) -> None:
    phone, other = device(stage, "old"), device(stage, "new")
    typed = ("--words-file", str(paper(stage, (await phone.ask("init"))["words"])))
    token = await add(stage, phone, "clinic-a", "Letter")
    given = {}
    for clinic in ("clinic-c", "clinic-d"):
        [grant] = (await phone.ask("my", "share", token, "--with", clinic, "--for", "1d"))["grants"]
        given[clinic] = grant["grant"]
        await reads_at_last(stage, clinic, token)
    assert (await other.ask("keys", "restore", *typed))["grants"] == 2
    assert (await other.ask("my", "stop", given["clinic-c"]))["final"]
    changed = await other.ask("my", "lost-phone", "--yes", "--keep", given["clinic-d"], *typed)
    assert changed["kept"] == [given["clinic-d"]]
    assert not await can_read(stage, "clinic-c", token)
    assert await can_read(stage, "clinic-d", token)


async def test_three_sheets_of_paper_are_as_good_as_the_words(stage: Stage) -> None:
    phone, other = device(stage, "split"), device(stage, "joined")
    words = (await phone.ask("init"))["words"]
    typed = ("--words-file", str(paper(stage, words)))
    sheets = (await phone.ask("keys", "export", "--sheets", *typed))["sheets"]
    assert len(sheets) == 5
    two = paper(stage, "\n".join(sheets[:2]), "two")
    few = await other.run("keys", "restore", "--words-file", str(two), "--json")
    assert (few.status, few.error()["code"]) == (FAILED, "words")
    three = ("--words-file", str(paper(stage, "\n".join(sheets[2:]), "three")))
    assert (await other.ask("keys", "restore", *three))["records"] == 0
    assert (await other.ask("keys", "export", "--words", *three))["words"] == words


async def test_a_record_is_given_for_good_when_both_sides_have_signed(stage: Stage) -> None:
    parent, child, third = device(stage, "parent"), device(stage, "child"), device(stage, "third")
    typed = ("--words-file", str(paper(stage, (await parent.ask("init"))["words"], "parents-words")))
    await child.ask("init")
    await third.ask("init")
    token = await add(stage, parent, "clinic-a", "Birth")
    await parent.ask("my", "share", token, "--with", "clinic-c", "--for", "1d")
    await reads_at_last(stage, "clinic-c", token)
    code = (await child.ask("my", "take", "--name", "Ben"))["code"]
    give = ("my", "give", token, "--to", code, "--reason", "majority", "--yes", *typed)
    given = await parent.ask(*give)
    assert (given["title"], given["to_name"], given["reason"]) == ("Birth", "Ben", "majority")
    # Until the receiver has signed too, nothing changed; and nobody else can take it.
    assert [one["token"] for one in (await parent.ask("my", "records"))["records"]] == [token]
    stranger = await third.run("my", "take", given["gift"], "--yes", "--json")
    assert (stranger.status, stranger.error()["code"]) == (FAILED, "receive-code")
    unasked = await child.run("my", "take", given["gift"], "--json")
    assert (unasked.status, unasked.error()["code"]) == (USAGE, "usage")
    taken = await child.ask("my", "take", given["gift"], "--yes")
    assert (taken["token"], taken["title"], taken["final"]) == (token, "Birth", True)
    assert [one["token"] for one in (await child.ask("my", "records"))["records"]] == [token]
    saved = stage.root / "taken"
    assert (await child.run("my", "record", token, "-o", str(saved))).status == DONE
    assert saved.read_bytes() == b"Birth" * 100
    assert not await can_read(stage, "clinic-c", token)
    with trio.fail_after(PATIENCE_S):
        while (await parent.ask("my", "records"))["records"]:  # noqa: ASYNC110
            await trio.sleep(POLL_S)
    assert [one["state"] for one in (await parent.ask("my", "shares"))["grants"]] == ["ended"]
    again = await child.run("my", "take", given["gift"], "--yes", "--json")
    assert (again.status, again.error()["code"]) == (FAILED, "receive-code")
    await child.ask("my", "share", token, "--with", "clinic-d", "--for", "1d")
    await reads_at_last(stage, "clinic-d", token)


async def test_what_cannot_be_undone_asks_first_and_wrong_words_do_nothing(stage: Stage) -> None:
    phone = device(stage, "careful")
    words = (await phone.ask("init"))["words"]
    right, wrong = paper(stage, words), paper(stage, words.replace(" ", " x", 1), "wrong")
    unasked = await phone.run("my", "lost-phone", "--words-file", str(right), "--json")
    assert (unasked.status, unasked.error()["code"]) == (USAGE, "usage")
    assert "--yes" in unasked.error()["hint"]
    for command in (("my", "lost-phone", "--yes"), ("my", "recover"), ("keys", "refill")):
        slip = await phone.run(*command, "--words-file", str(wrong), "--json")
        assert (slip.status, slip.error()["code"]) == (FAILED, "words")
        assert "number 2" in slip.error()["error"]
    new = device(stage, "never")
    slip = await new.run("keys", "restore", "--words-file", str(wrong), "--json")
    assert (slip.status, slip.error()["code"]) == (FAILED, "words")
    assert not new.data_dir.exists()
    right.chmod(0o644)
    exposed = await phone.run("keys", "refill", "--words-file", str(right), "--json")
    assert (exposed.status, exposed.error()["code"]) == (FAILED, "key-file")


@pytest.mark.parametrize("command", [("my", "recover"), ("keys", "refill")], ids="-".join)
async def test_words_are_never_taken_from_the_command_line(stage: Stage, command: tuple[str, ...]) -> None:
    answer = await stage.patient.run(*command, "abandon", "--json")
    assert (answer.status, answer.error()["code"]) == (USAGE, "usage")
    nobody = await stage.patient.run(*command, "--json")
    assert (nobody.status, nobody.error()["code"]) == (USAGE, "usage")
    assert "--words-file" in nobody.error()["hint"]
