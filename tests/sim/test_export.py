"""A patient takes her records with her: an export of the simulated world, verified with no world at all."""

import hashlib
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace

from node.exported import describe, result_of
from node.store import layout
from protocol.control import MyErase, MyLostPhone, VerifyResult
from protocol.errors import Code, UserError
from protocol.export import (
    ExportMembers,
    ExportRecord,
)
from protocol.limits import DAY_MS
from protocol.proofs import Standing
from tests.sim.exports import (
    LETTER,
    Proven,
    changed,
    export,
    places,
    refused,
    sections,
    taken,
    two_records,
    verified,
)
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import RECORD, add, play, receive_code, share
from tests.sim.test_own_keys import WORDS


@pytest.fixture(scope="module")
def proven() -> Proven:
    return two_records()


def test_an_export_proves_records_consents_and_accesses_without_any_network(proven: Proven) -> None:
    one, file = proven, proven.file
    shown = verified(file.sections, file.genesis, file.now_ms + 400 * DAY_MS)
    assert [record.token.hex() for record in shown.records] == [one.bundle, one.letter]
    contents = [record.sha256 for record in shown.records]
    assert contents == [hashlib.sha256(content).digest() for content in (RECORD, LETTER)]
    assert [[consent.standing for consent in record.consents] for record in shown.records] == [
        [Standing.LIVE],
        [Standing.REVOKED],
    ]
    assert all(record.are_all for record in shown.records)
    [reading] = [one for one in shown.accesses if one.entry.purpose == "TREAT"]
    assert (reading.entry.token.hex(), reading.entry.user) == (one.bundle, "dr b")
    assert reading.entry.grant.hex() == one.grant
    assert reading.is_receipted
    assert reading.sent_bytes >= len(RECORD)
    assert len(shown.logs) == 4
    assert all(not log.missing and log.flaw is None for log in shown.logs)


def test_members_from_a_time_to_come_are_refused_also_beside_records_of_now() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")
        await trio.sleep(5)
        now = taken(someone, (await export(someone)).raw, issuer.clock.wall_ms())
        await trio.sleep(600)
        later = sections((await export(someone)).raw)
        at = places(now.sections, ExportMembers)[0]
        mixed = now.signed_again([*now.sections[:at], *later[places(later, ExportMembers)[0] :]])
        assert verified(mixed, now.genesis, now.now_ms + 700_000).records
        assert "later time" in refused(mixed, now).message

    play(story)


def test_consents_under_keys_of_before_are_not_counted_as_those_of_now() -> None:
    """After a lost phone the keys are other ones, and the old consents are over: none of now is hidden."""

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        await share(someone, token, cluster.nodes[1])
        await someone.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        await trio.sleep(5)
        file = await export(someone)
        [record] = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms()).records
        assert (len(record.consents), record.are_all) == (1, True)

    play(story)


def test_an_export_of_another_network_is_refused(proven: Proven) -> None:
    other = replace(proven.file.genesis, name="another")
    with pytest.raises(UserError) as caught:
        verified(proven.file.sections, other, proven.file.now_ms)
    assert caught.value.code is Code.WRONG_NETWORK


def test_a_clinic_that_is_away_is_named_and_what_it_told_is_missing() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, away = cluster.nodes[0], cluster.nodes[3]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        away.crash()
        await trio.sleep(1)
        file = await export(someone, token[:10])
        assert file.result.unreached == (away.name,)
        shown = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms())
        [silent] = [log for log in shown.logs if log.missing]
        assert (silent.member.name, len(silent.missing)) == (away.name, 1)

    play(story)


def test_a_record_that_no_clinic_gives_is_exported_without_its_content() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        for node in cluster.nodes:
            store = node.disk.blobs
            store.write([], [key for key, _ in store.iterate(b"chunk/")])
        file = await export(someone)
        assert file.result.left_out == (token,)
        shown = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms())
        assert [record.sha256 for record in shown.records] == [b""]

    play(story)


def test_a_consent_that_the_file_does_not_tell_is_missed() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        await share(someone, token, cluster.nodes[1])
        await share(someone, token, cluster.nodes[2])
        first, *_ = someone.store.iterate(layout.wallet(b"grant/"))
        someone.store.write([], [first[0]])
        file = await export(someone)
        [record] = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms()).records
        assert (len(record.consents), record.are_all) == (1, False)

    play(story)


def test_nothing_is_no_export() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        with pytest.raises(UserError) as caught:
            await export(someone)
        assert caught.value.code is Code.REFUSED

    play(story)


def spoiled(value: Any) -> Any:
    """A document with what a terminal would obey at the end of each text that is no word of ours."""
    match value:
        case str():
            return f"{value}\x1b[2J\rthe end"
        case dict():
            return {key: value[key] if key in ("state", "type") else spoiled(value[key]) for key in value}
        case list() | tuple():
            return [spoiled(one) for one in value]
    return value


def test_no_text_of_others_reaches_the_terminal_as_it_is(
    proven: Proven, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = verified(proven.file.sections, proven.file.genesis, proven.file.now_ms)
    result = result_of(shown, {proven.letter: "letter.pdf"})
    describe(msgspec.convert(spoiled(msgspec.to_builtins(result)), VerifyResult))
    told = capsys.readouterr().out
    assert told.count("the end") > len(told.splitlines()) / 2
    assert not {"\x1b", "\r"} & set(told)


def test_a_record_that_was_erased_is_proven_by_nobody_as_one_that_is_there() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")
        await trio.sleep(5)
        file = taken(someone, (await export(someone)).raw, issuer.clock.wall_ms() + 60_000)
        [record] = someone.wallet.records()
        await someone.patient.erasing.erase(MyErase(record=record.token.hex(), words=WORDS))
        [(proof, _)] = await someone.patient.proofs.portable(record, [])
        lied = file.signed_again(changed(file.sections, ExportRecord, 0, proofs=(proof,)))
        assert "erased" in refused(lied, file).message

    play(story)
