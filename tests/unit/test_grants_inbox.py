"""The inbox: grants on the ledger are found by trial opening, and count only if they are what they say."""

from collections.abc import Callable

import pytest
import trio

from node.adapters import InlineOffload
from node.records.grants_inbox import SAVE_BLOCKS, GrantsInbox
from node.records.ids import find_held_grant, find_token
from node.store import layout
from protocol.codec import digest, encode
from protocol.errors import Code, Refused, UserError
from protocol.grants import GrantBody, grant_id, seal_grant
from protocol.transactions import Grant, GrantId, Revoke, TokenId, sealed_hash
from tests.clinic_world import IDS, LABEL, REFERENCE, Clinic, Record, World, grant, issue
from tests.ledger_world import GENESIS, Signed, keys, opening, rotate, signed

INBOX_OF = 1


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    made = World(nursery, 2)
    await made.start()
    return made


def new_inbox(clinic: Clinic) -> GrantsInbox:
    return GrantsInbox(
        ledger=clinic.ledger,
        store=clinic.disk.ledger,
        offload=InlineOffload(),
        identity=clinic.identity,
        opening_key=opening(clinic.index),
    )


async def inbox_of(world: World, nursery: trio.Nursery) -> GrantsInbox:
    inbox = new_inbox(world.clinics[INBOX_OF])
    await nursery.start(inbox.run)
    return inbox


async def minted(world: World) -> Record:
    record = await issue(world.clinics[0], 1000)
    await world.finalize(record.minted)
    return record


def found(inbox: GrantsInbox) -> list[GrantId]:
    return [held.grant_id for held in inbox.held()]


async def test_a_grant_to_this_clinic_is_found_and_opens_until_it_ends(
    world: World, nursery: trio.Nursery
) -> None:
    inbox, record = await inbox_of(world, nursery), await minted(world)
    given = grant(record, INBOX_OF)
    await world.finalize(given.registration)
    await inbox.wait_searched()
    [held] = inbox.held_for(record.token)
    assert (held.grant_id, held.raw_body, held.body.purposes) == (given.grant_id, given.body, ("TREAT",))
    sealed = inbox.open(held)
    assert sealed is not None
    assert (sealed.content_key, sealed.label) == (record.content_key, LABEL)
    assert (inbox.is_live(held), inbox.live_count(record.token)) == (True, 1)
    await world.finalize(signed(Revoke(record.token, given.grant_id), keys("ann").owner))
    await inbox.wait_searched()
    assert inbox.open(held) is None
    assert (inbox.is_live(held), inbox.live_count(record.token)) == (False, 0)


async def test_a_revocation_at_sight_ends_a_grant_here_at_once(world: World, nursery: trio.Nursery) -> None:
    inbox, record = await inbox_of(world, nursery), await minted(world)
    given = grant(record, INBOX_OF)
    await world.finalize(given.registration)
    await inbox.wait_searched()
    await world.clinics[INBOX_OF].ledger.deny(Revoke(record.token, given.grant_id))
    assert not inbox.is_live(inbox.get(given.grant_id))


async def test_a_rotation_ends_the_grants_that_it_does_not_keep(
    world: World, nursery: trio.Nursery
) -> None:
    inbox, record = await inbox_of(world, nursery), await minted(world)
    given = grant(record, INBOX_OF)
    await world.finalize(given.registration)
    await world.finalize(rotate(record.token, keys("ann"), keys("ann", 1)))
    await inbox.wait_searched()
    assert not inbox.is_live(inbox.get(given.grant_id))


def _registered(record: Record, name: GrantId, sealed: bytes) -> Signed:
    body = Grant(record.token, name, sealed_hash(sealed))
    return signed(body, keys(record.patient).owner, sealed=sealed)


def other_grantee(record: Record) -> Signed:
    """A box for clinic 1 with a grant to clinic 2."""
    body = GrantBody(
        record.token, IDS[2], ("read",), ("TREAT",), 0, 10, 60, ("record",), (), False, bytes(16)
    )
    name, sealed = seal_grant(
        body,
        record.content_key,
        LABEL,
        REFERENCE,
        to=opening(INBOX_OF).public,
        owner=keys(record.patient).enc.public,
        network_limits=GENESIS.limits,
        entropy=digest("test-entropy", b""),
    )
    return _registered(record, name, sealed)


def other_name(record: Record) -> Signed:
    """A box with another grant than the one that is registered."""
    sealed = grant(record, INBOX_OF).registration.sealed
    return _registered(record, grant_id(b"another"), sealed)


def other_token(record: Record) -> Signed:
    """A box with a grant of another token."""
    given = grant(record, INBOX_OF, token=TokenId(bytes(32)))
    return _registered(record, given.grant_id, given.registration.sealed)


def to_another(record: Record) -> Signed:
    """A right grant that is not for this clinic."""
    return grant(record, 0).registration


def nonsense(record: Record) -> Signed:
    return _registered(record, grant_id(b"nonsense"), b"no box")


@pytest.mark.parametrize("made", [other_grantee, other_name, other_token, to_another, nonsense])
async def test_what_is_not_a_grant_to_this_clinic_is_only_counted(
    world: World, nursery: trio.Nursery, made: Callable[[Record], Signed]
) -> None:
    inbox, record = await inbox_of(world, nursery), await minted(world)
    await world.finalize(made(record))
    await inbox.wait_searched()
    assert found(inbox) == []
    assert inbox.live_count(record.token) == 1


async def test_grants_made_while_the_node_was_down_are_found_at_the_next_start(
    world: World, nursery: trio.Nursery
) -> None:
    record = await minted(world)
    first, second, ended = (grant(record, INBOX_OF, salt=bytes([n]) * 16) for n in range(3))
    await world.finalize(first.registration, ended.registration)
    await world.finalize(signed(Revoke(record.token, ended.grant_id), keys("ann").owner))
    inbox = await inbox_of(world, nursery)
    await inbox.wait_searched()
    assert found(inbox) == [first.grant_id]
    again = new_inbox(world.clinics[INBOX_OF])
    await world.finalize(second.registration)
    await nursery.start(again.run)
    await again.wait_searched()
    assert sorted(found(again)) == sorted([first.grant_id, second.grant_id])


async def test_the_height_searched_is_saved_now_and_then_where_nothing_was_found(
    world: World, nursery: trio.Nursery
) -> None:
    inbox = await inbox_of(world, nursery)
    store = world.clinics[INBOX_OF].disk.ledger
    for _ in range(SAVE_BLOCKS):
        assert store.get(layout.grants_height()) is None
        await world.finalize()
        await inbox.wait_searched()
    assert layout.read_height(store.get(layout.grants_height()) or b"") == SAVE_BLOCKS


async def test_ids_are_found_by_any_prefix_that_only_one_has(world: World, nursery: trio.Nursery) -> None:
    inbox, record = await inbox_of(world, nursery), await minted(world)
    clinic = world.clinics[INBOX_OF]
    token, state, store = record.token.hex(), clinic.ledger.state, clinic.disk.ledger
    for length in (6, 7, 63, 64):
        assert find_token(store, state, token[:length]) == record.token
    other_digit = "0" if token[6] != "0" else "1"
    with pytest.raises(Refused):
        find_token(store, state, token[:6] + other_digit)
    given = grant(record, INBOX_OF)
    await world.finalize(given.registration)
    await inbox.wait_searched()
    assert find_held_grant(store, given.grant_id.hex()[:7]) == given.grant_id
    # A transaction that is no mint is no record.
    with pytest.raises(Refused):
        find_token(store, clinic.ledger.state, given.registration.transaction.id.hex())


async def test_a_prefix_that_several_ids_have_is_ambiguous(world: World) -> None:
    store = world.clinics[0].disk.ledger
    for last in (b"\x01", b"\x02"):
        store.write([(layout.held_grant(b"\xab" * 31 + last), encode(0))])
    with pytest.raises(UserError) as caught:
        find_held_grant(store, "ababab")
    assert caught.value.code is Code.AMBIGUOUS_ID
    assert find_held_grant(store, "ab" * 31 + "01") == b"\xab" * 31 + b"\x01"
