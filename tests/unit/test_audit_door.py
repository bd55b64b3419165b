"""The audit door: an owner sees all of her tokens' records, and everybody else an answer without any."""

from typing import Any

import pytest
import trio
from msgspec.structs import replace

from node.adapters import InlineOffload
from node.records.audit_door import QUESTION, AuditDoor
from node.records.audit_log import Asked
from protocol import limits
from protocol.access import DenyReason, FetchRequest, sign_fetch, verify_fetch
from protocol.audit_map import FlawedLog, LogHead, verify_listing
from protocol.codec import decode, encode
from protocol.keys import SigningKey
from protocol.messages.audit import (
    AuditHeadBody,
    AuditProof,
    AuditQuestion,
    AuditReply,
    Nonce,
    NonceRequest,
    decode_audit_reply,
    open_head,
)
from protocol.transactions import AuditHead, TokenId
from tests.clinic_world import IDS, Clinic, Record, World, issue
from tests.ledger_world import CLINICS, NETWORK, keys, rotate, signed

ANN, BOB = keys("ann").owner, keys("bob").owner


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    made = World(nursery, 2)
    await made.start()
    clinic = made.clinics[0]
    AuditDoor(
        transport=clinic.transport,
        key=clinic.key,
        ledger=clinic.ledger,
        audit=clinic.audit,
        clock=clinic.clock,
        entropy=clinic.entropy,
        offload=InlineOffload(),
    )
    return made


async def denied(clinic: Clinic, token: TokenId, times: int) -> None:
    request = FetchRequest(token, b"g" * 2000, IDS[1], IDS[0], bytes(32), "TREAT", "dr b", 0, 1, 1)
    fetch = verify_fetch(sign_fetch(request, CLINICS[1], NETWORK), NETWORK)
    for _ in range(times):
        asked = Asked(IDS[1], fetch, 1, 1)
        await clinic.audit.deny(asked, DenyReason.PURPOSE, is_member=True, is_token=True)


async def two_records(world: World) -> tuple[Record, Record]:
    """Ann's with three denials, and then Bob's with one."""
    records = [await issue(world.clinics[0], 1000, patient=name) for name in ("ann", "bob")]
    await world.finalize(*(record.minted for record in records))
    for record, times in zip(records, (3, 1), strict=True):
        await denied(world.clinics[0], record.token, times)
    return records[0], records[1]


async def ask(
    world: World,
    *pairs: tuple[SigningKey, TokenId],
    after: int = 0,
    nonce: bytes | None = None,
    server: int = 0,
    posted: int = 0,
) -> AuditReply | None:
    """The answer to a question in which each key signs for its token; None where the stream ends."""
    stream = await world.clinics[1].transport.open_stream(IDS[0], "audit")
    await stream.send(encode(NonceRequest()))
    raw = await stream.receive(limits.KIB)
    assert raw is not None
    given = decode(Nonce, raw, limit=limits.KIB).nonce
    signatures = tuple(
        key.sign(QUESTION, NETWORK, encode(AuditProof(IDS[server], given, token))) for key, token in pairs
    )
    question = AuditQuestion(
        nonce or given,
        tuple(token for _, token in pairs),
        tuple(key.public for key, _ in pairs),
        signatures,
        after,
        posted,
    )
    await stream.send(encode(question))
    raw = await stream.receive(limits.AUDIT_REPLY_BYTES_MAX)
    return None if raw is None else decode_audit_reply(raw)


def sequences(reply: AuditReply | None) -> list[int]:
    assert reply is not None
    return [record.sequence for record in reply.records]


async def test_an_owner_gets_the_records_of_her_tokens_with_the_clinics_signed_head(world: World) -> None:
    ann, bob = await two_records(world)
    reply = await ask(world, (ANN, ann.token))
    assert sequences(reply) == [1, 2, 3]
    assert sequences(await ask(world, (ANN, ann.token), after=1)) == [2, 3]
    assert sequences(await ask(world, (ANN, ann.token), (BOB, bob.token))) == [1, 2, 3, 4]
    assert reply is not None
    body = open_head(reply.head, IDS[0], NETWORK)
    audit = world.clinics[0].audit
    assert (body.server, body.sequence, body.head) == (IDS[0], 4, audit.map.root)
    assert reply.shown is not None
    verify_listing([ann.token], reply.records, LogHead(4, body.head), reply.shown)
    for hidden in range(3):
        rest = [one for at, one in enumerate(reply.records) if at != hidden]
        with pytest.raises(FlawedLog):
            verify_listing([ann.token], rest, LogHead(4, body.head), reply.shown)


async def test_a_head_on_the_ledger_is_shown_also_after_a_restart_and_no_other_one(world: World) -> None:
    ann, _ = await two_records(world)
    clinic = world.clinics[0]
    head = clinic.audit.post()
    await world.finalize(signed(AuditHead(IDS[0], head.sequence, head.root), clinic.key))
    await denied(clinic, ann.token, 2)
    for sequence, is_shown in ((head.sequence, True), (head.sequence - 1, False), (99, False)):
        reply = await ask(world, (ANN, ann.token), posted=sequence)
        assert reply is not None
        assert (reply.posted is not None) == is_shown
    # The maps kept in memory are gone after a restart.
    clinic.audit._maps.clear()
    reply = await ask(world, (ANN, ann.token), posted=head.sequence)
    assert reply is not None
    assert reply.posted is not None
    verify_listing([ann.token], reply.records, head, reply.posted)


async def test_an_owner_of_what_nobody_asked_for_is_shown_that_there_is_nothing(world: World) -> None:
    ann = await issue(world.clinics[0], 1000)
    await world.finalize(ann.minted)
    reply = await ask(world, (ANN, ann.token))
    assert reply is not None
    assert (reply.records, reply.posted) == ((), None)
    body = decode(AuditHeadBody, reply.head.body, limit=limits.KIB)
    assert reply.shown is not None
    verify_listing([ann.token], (), LogHead(0, body.head), reply.shown)


async def test_whoever_is_not_the_owner_gets_the_same_as_where_there_is_nothing(
    world: World, autojump_clock: Any
) -> None:
    ann, bob = await two_records(world)
    answers: list[tuple[bytes, float]] = []
    for key, token, server in (
        (BOB, ann.token, 0),
        (CLINICS[0], ann.token, 0),
        (ANN, TokenId(bytes(32)), 0),
        (ANN, ann.token, 1),
    ):
        came_s = trio.current_time()
        reply = await ask(world, (key, token), server=server)
        assert reply is not None
        body = decode(AuditHeadBody, reply.head.body, limit=limits.KIB)
        answers.append(
            (encode(replace(reply, head=replace(body, time_ms=0))), trio.current_time() - came_s)
        )
    assert [answer for answer, _ in answers] == [answers[0][0]] * len(answers)
    assert [took_s for _, took_s in answers] == pytest.approx([limits.REFUSAL_MS / 1000] * len(answers))
    assert sequences(await ask(world, (BOB, ann.token), (BOB, bob.token))) == [4]


async def test_an_owner_whose_keys_were_rotated_away_sees_nothing_more(world: World) -> None:
    ann, _ = await two_records(world)
    await world.finalize(rotate(ann.token, keys("ann"), keys("ann", 1)))
    assert sequences(await ask(world, (ANN, ann.token))) == []
    assert sequences(await ask(world, (keys("ann", 1).owner, ann.token))) == [1, 2, 3]


async def test_long_answers_come_in_parts(world: World) -> None:
    ann, _ = await two_records(world)
    await denied(world.clinics[0], ann.token, 240)
    found: list[int] = []
    parts = 0
    while True:
        reply = await ask(world, (ANN, ann.token), after=found[-1] if found else 0)
        assert reply is not None
        found += sequences(reply)
        parts += 1
        if not reply.more:
            break
    assert parts > 1
    assert found == [1, 2, 3, *range(5, 245)]


async def test_a_question_under_another_nonce_drops_the_peer(world: World) -> None:
    ann, _ = await two_records(world)
    assert await ask(world, (ANN, ann.token), nonce=bytes(32)) is None
    assert len(world.net.dropped) == 1
