"""Refusals: one for all reasons, in bytes and in time; what it was is in the audit log alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from node.records.serving import REFUSAL
from protocol import limits
from protocol.access import DenyReason, SignedFetchRequest, sign_fetch
from protocol.errors import StorageError
from protocol.transactions import Revoke, TokenId
from tests.asking import SMALL, asker, log, request, shared
from tests.clinic_world import (
    IDS,
    Given,
    Record,
    World,
    grant,
    issue,
)
from tests.ledger_world import (
    CLINICS,
    FAR_MS,
    NETWORK,
    Signed,
    erase,
    keys,
    rotate,
    signed,
)
from tests.unit.test_membership import suspend


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    """Four clinics; number 0 issues, and number 1 asks."""
    made = World(nursery)
    await made.start()
    await made.finalize()
    yield made
    assert not made.net.dropped


def revocation(record: Record, given: Given) -> Signed:
    return signed(Revoke(record.token, given.grant_id), keys("ann").owner)


REASONS = [
    "no-token",
    "not-registered",
    "no-grant",
    "revoked",
    "revoked-at-sight",
    "generation",
    "erased",
    "other-token",
    "not-grantee",
    "expired",
    "not-yet",
    "purpose",
    "scope",
    "stale",
    "clock",
    "not-held",
    "not-a-member",
    "suspended",
    "wrong-server",
    "replayed-nonce",
    "malformed",
]


async def refused(world: World, why: str) -> bytes:
    """The answer to a request that must be refused for this reason and no other."""
    terms: dict[str, object] = {}
    if why == "expired":
        terms = {"not_after_ms": world.clinics[0].clock.wall_ms() + 1}
    if why == "not-yet":
        terms = {"not_before_ms": FAR_MS - 1, "not_after_ms": FAR_MS}
    record, given = await shared(world, SMALL, **terms)
    peer, asking, clinic = await asker(world), request(record, given), world.clinics[0]
    changes: dict[str, object] = {}
    match why:
        case "no-token":
            changes = {"token": TokenId(bytes(32))}
        case "no-grant":
            changes = {"grant_body": b"", "purpose": "PATRQT"}
        case "not-registered":
            changes = {"grant_body": grant(record, 1, salt=b"s" * 16).body}
        case "revoked":
            await world.finalize(revocation(record, given))
        case "revoked-at-sight":
            await clinic.ledger.deny(Revoke(record.token, given.grant_id))
        case "generation":
            await world.finalize(rotate(record.token, keys("ann"), keys("ann", 1)))
        case "erased":
            await world.finalize(erase(record.token, keys("ann")))
        case "other-token":
            other = await issue(clinic, SMALL, patient="bob")
            await world.finalize(other.minted)
            changes = {"token": other.token}
        case "not-grantee":
            peer, changes = await asker(world, CLINICS[2]), {"signer": IDS[2]}
        case "expired":
            await trio.sleep(20)
            await world.finalize()
        case "purpose":
            changes = {"purpose": "HRESCH"}
        case "scope":
            changes = {"chunk_count": record.content.chunks + 1}
        case "stale":
            await trio.sleep(61)
        case "clock":
            clinic.clock_is_good = False
        case "not-held":
            await clinic.vault.delete(clinic.identity, record.content.root)
        case "not-a-member":
            clinic.suspensions.see(suspend(CLINICS[0]).transaction)
        case "suspended":
            clinic.suspensions.see(suspend(CLINICS[1]).transaction)
        case "wrong-server":
            changes = {"server": IDS[2]}
        case "replayed-nonce":
            changes = {"nonce": bytes(32)}
        case "malformed":
            nonce = await peer.nonce()
            body = sign_fetch(replace(asking, nonce=nonce), CLINICS[1], NETWORK).body
            return await peer.call(SignedFetchRequest(body, bytes(64)))
    return await peer.ask(asking, **changes)


@pytest.mark.parametrize("why", REASONS)
async def test_every_refusal_is_the_same_bytes_after_the_same_time_and_only_the_log_knows_why(
    world: World, autojump_clock: Any, why: str
) -> None:
    came_s = trio.current_time()
    asked_s: list[float] = []
    world.net.on_sent = lambda server, frame: asked_s.append(trio.current_time())
    assert await refused(world, why) == REFUSAL
    # The nonce left at once, the refusal a fixed time after the request that followed it.
    nonce_s, refusal_s = asked_s[-2:]
    assert refusal_s - nonce_s == pytest.approx(limits.REFUSAL_MS / 1000)
    assert nonce_s >= came_s
    last = log(world.clinics[0])[-1]
    assert (last.event, last.reason, last.count) == ("denial", why, 1)
    assert bool(last.request) == (why != "malformed")


def test_the_reasons_tested_are_all_there_are_but_one() -> None:
    # A grant for another action than reading cannot be told from here: there is no other action yet.
    assert {*REASONS, "action"} == {reason.value for reason in DenyReason}


async def test_a_request_that_cannot_be_written_down_is_refused(world: World) -> None:
    record, given = await shared(world)
    clinic = world.clinics[0]
    peer = await asker(world)
    nonce = await peer.nonce()
    clinic.audit._fail(StorageError("the disk failed"))
    assert await peer.call(
        sign_fetch(replace(request(record, given), nonce=nonce), CLINICS[1], NETWORK)
    ) == (REFUSAL)
    assert not log(clinic)


async def test_a_nonce_is_good_for_one_request_only(world: World) -> None:
    record, given = await shared(world)
    peer = await asker(world)
    asking = sign_fetch(replace(request(record, given), nonce=await peer.nonce()), CLINICS[1], NETWORK)
    assert await peer.call(asking) != REFUSAL
    for _ in range(record.content.chunks):
        await peer.frame()
    assert await peer.call(asking) == REFUSAL
    other = await asker(world)
    await other.nonce()
    assert await other.call(asking) == REFUSAL
