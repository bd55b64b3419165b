"""A fifth clinic joins four by a code, follows, votes, reads what it was granted, and is shut out: all by
the commands that administrators type, against real processes."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from node.demo.stage import Actor, Stage, free_ports
from protocol.exits import DONE, NOT_FINAL
from tests.e2e.clinics import add_record, four_clinics

PATIENCE_S = 90.0
POLL_S = 0.2
CONTENT = b"a record for the newcomer" * 1000
NAMES = ("clinic-a", "clinic-b", "clinic-c", "clinic-d")


async def fifth_clinic(stage: Stage) -> Actor:
    """A clinic with keys and no network, running."""
    config = stage.root / "clinic-e.toml"
    [port] = free_ports(1)
    config.write_text(
        f'[node]\nrole = "clinic"\nname = "clinic-e"\ndata_dir = "data/clinic-e"\n'
        f'[network]\nlisten = ["/ip4/127.0.0.1/tcp/{port}"]\n'
    )
    actor = Actor("clinic-e", config, stage.root / "data" / "clinic-e")
    await actor.ask("init", "--insecure-no-passphrase")
    await actor.ask("start")
    return actor


async def eventually(condition: Callable[[], Awaitable[object]], what: str) -> None:
    with trio.move_on_after(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"waited {PATIENCE_S:.0f} s in vain for {what}")


async def agree(stage: Stage, by: str, *words: str) -> None:
    """The clinics named in `by` run one command each; the last makes it final."""
    for index, letter in enumerate(by):
        answer = await stage.clinics[f"clinic-{letter}"].run("network", *words, "--json")
        wanted = DONE if index == len(by) - 1 else NOT_FINAL
        assert answer.status == wanted, (letter, words, answer.stdout, answer.stderr)


async def row_of(actor: Actor, name: str) -> dict[str, Any]:
    rows = (await actor.ask("network", "members"))["members"]
    return next((row for row in rows if row["name"] == name), {})


async def join(stage: Stage, newcomer: Actor) -> None:
    """By an invitation of clinic-a; the three others approve."""
    code = (await stage.clinics["clinic-a"].ask("network", "invite"))["code"]
    unread = await newcomer.run("network", "join", code, "--json")
    assert unread.error()["code"] == "terms"
    asked = await newcomer.run("network", "join", code, "--accept-terms", "--json")
    assert asked.status == NOT_FINAL
    document = asked.document()
    assert (document["joined"], document["approvals"], document["quorum"]) == (False, 0, 3)
    assert any("0 of 3 approvals" in warning for warning in (await newcomer.status())["warnings"])
    # The request reaches whoever was not asked, by the members' own way.
    for name in NAMES[1:]:
        await eventually(lambda one=name: waits(stage.clinics[one]), f"the request at {name}")  # type: ignore[misc]
    await newcomer.ask("stop")
    await agree(stage, "bcd", "approve", "clinic-e")
    await newcomer.ask("start")


async def record_elsewhere(stage: Stage, issuer: Actor, reader: Actor) -> dict[str, Any]:
    """A record of which `reader` holds no copy, so that it can only read it at others."""
    own = (await row_of(reader, reader.name))["id"]
    for number in range(20):
        added = await add_record(stage, issuer, CONTENT, name=f"record-{number}.bin")
        if own not in added["holders"]:
            return added
    raise AssertionError("twenty records, and the newcomer holds every one")


async def waits(actor: Actor) -> bool:
    return bool((await actor.ask("network", "members"))["pending"])


async def meets(actor: Actor, name: str) -> bool:
    return name in [row["name"] for row in (await actor.ask("peers"))["peers"]]


async def test_a_clinic_joins_by_code_follows_votes_and_is_shut_out(tmp_path: Path) -> None:
    async with four_clinics(tmp_path / "stage") as stage:
        first, newcomer = stage.clinics["clinic-a"], await fifth_clinic(stage)
        await join(stage, newcomer)

        async def is_fresh() -> bool:
            status = await newcomer.status()
            return bool(status["fresh"]) and status["members"] == 5

        await eventually(is_fresh, "the newcomer to follow")
        follower = await row_of(newcomer, "clinic-e")
        assert (follower["role"], follower["votes"], follower["is_self"]) == ("follower", False, True)

        added = await record_elsewhere(stage, first, newcomer)
        await stage.patient.ask("my", "share", added["token"], "--with", "clinic-e", "--for", "1d")
        await eventually(lambda: meets(stage.patient, "clinic-e"), "the patient to meet the newcomer")
        target = tmp_path / "got"

        async def reads() -> bool:
            words = ("record", "get", added["token"], "-o", str(target), "--purpose", "TREAT")
            return (await newcomer.run(*words)).status == DONE

        await eventually(reads, "the newcomer to read what was granted to it")
        assert target.read_bytes() == CONTENT

        await agree(stage, "abc", "approve", "--validator", "clinic-e")

        async def votes() -> bool:
            row = await row_of(newcomer, "clinic-e")
            return row.get("role") == "validator" and row["votes"]

        await eventually(votes, "the newcomer to vote")
        assert (await first.status())["epoch"] == 1
        assert (await first.status())["quorum"] == 4
        # Four of five must vote now, so with one gone the newcomer's vote is needed.
        await stage.clinics["clinic-d"].ask("stop")
        await add_record(stage, first, b"ordered by the newcomer too", name="second.bin")
        await stage.clinics["clinic-d"].ask("start")
        await add_record(stage, first, b"all five are back", name="third.bin")

        await agree(stage, "abcd", "suspend", "--yes", "--reason", "contract", "clinic-e")
        for name in NAMES:

            async def is_shut_out(actor: Actor = stage.clinics[name]) -> bool:
                row = await row_of(actor, "clinic-e")
                return row["role"] == "suspended" and not row["reachable"] and not row["votes"]

            await eventually(is_shut_out, f"{name} to shut the newcomer out")
        target.unlink()
        assert not await reads()
        assert not target.exists()
        assert (await first.status())["quorum"] == 3
        await agree(stage, "abc", "remove", "--yes", "clinic-e")
        assert await row_of(first, "clinic-e") == {}

        async def is_left() -> bool:
            return not await row_of(stage.patient, "clinic-e") and not await meets(
                stage.patient, "clinic-e"
            )

        await eventually(is_left, "the patient to leave who was removed")
        await add_record(stage, first, b"the four go on", name="fourth.bin")
