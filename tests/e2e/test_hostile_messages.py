"""Forged, replayed and junk messages against a running clinic, while honest people use it.

Nothing forged counts, nothing played again changes anything, and junk within its quota is only work.
"""

from collections.abc import Iterator, Sequence

import pytest
import trio

from node.bench.workload import seed
from node.demo.stage import Stage
from protocol.blocks import NO_BLOCK, Certificate, NetworkId, Phase, Statement, network_id
from protocol.codec import encode
from protocol.keys import SIGNATURE_BYTES, SigningKey
from protocol.messages.consensus import Forward, Relay, Submission, Vote
from protocol.messages.submit import SubmitRequest
from protocol.transactions import Grant, GrantId, TokenId, sealed_hash, sign_transaction
from tests.e2e import hostile, payloads
from tests.e2e.clinics import genesis_of, keys_of
from tests.e2e.hostile import MESHSUB
from tests.e2e.siege import Siege, besieged, new_workload

NO_SIGNATURE = bytes(SIGNATURE_BYTES)
NOBODY_SEED = b"nobody".ljust(32, b".")
NOBODY = SigningKey(NOBODY_SEED)
MEMBER_PROTOCOLS = ("consensus/1", "blocks/1", "members/1", MESHSUB)
JUNK_PER_S = 500
JUNK = 2_500
TOGETHER = 25  # transactions in one frame
BURST, BURST_S = 200, 30.0
TIMES = 200


@pytest.fixture(scope="module")
def siege(stage: Stage) -> Iterator[Siege]:
    with besieged(stage) as siege:
        yield siege


def framed(body: bytes) -> bytes:
    """As services frame what they say on a stream."""
    return len(body).to_bytes(4, "big") + body


def forwarded(submissions: Sequence[Submission]) -> list[bytes]:
    """What a member sends to pass transactions on, some in each frame."""
    return [
        framed(encode(Forward(tuple(submissions[start : start + TOGETHER]))))
        for start in range(0, len(submissions), TOGETHER)
    ]


async def forward(siege: Siege, submissions: Sequence[Submission], *, per_s: float) -> None:
    """As the rogue member, at a steady rate of transactions."""
    frames = forwarded(submissions)
    protocol = siege.prefix + "consensus/1"
    sent = await hostile.send_frames(siege.target, siege.rogue, protocol, frames, per_s=per_s / TOGETHER)
    assert sent == len(frames), "what is within the quota costs nobody the connection"


def place_of_rogue(siege: Siege) -> int:
    """The rogue's place among the validators."""
    key = SigningKey(siege.rogue).public
    return next(i for i, one in enumerate(genesis_of(siege.stage).members) if one.id_key == key)


# Strangers.


async def test_a_stranger_hears_not_one_byte_on_what_is_for_members(siege: Siege) -> None:
    heard: list[str] = []

    async def listen(number: int, name: str, octets: bytes) -> None:
        stranger = (b"eavesdropper %d" % number).ljust(32, b".")
        if await hostile.is_heard(siege.stranger(160), stranger, name, octets):
            heard.append(name)

    async with trio.open_nursery() as nursery:
        for start, protocol in enumerate(MEMBER_PROTOCOLS):
            name = protocol if protocol == MESHSUB else siege.prefix + protocol
            for number, octets in enumerate(
                (b"", b"\xff" * 200, framed(b"\x91\x01"), payloads.malformed_gossip())
            ):
                nursery.start_soon(listen, 10 * start + number, name, octets)
    assert heard == []
    await siege.check()


# Forgeries.


def forged_transactions(siege: Siege) -> dict[str, Submission]:
    """By no key that they need: each is one that a hasty check lets through."""
    network, own = network_id(genesis_of(siege.stage)), keys_of(siege.clinic).identity_seed
    mint, other = siege.workload.mints(2)
    [foreign] = new_workload(siege.stage, own, NetworkId(bytes(32))).mints(1)
    [by_nobody] = new_workload(siege.stage, NOBODY_SEED).mints(1)
    raw = mint.transaction
    return {
        "a spoiled signature": Submission(raw[:-1] + bytes((raw[-1] ^ 1,)), mint.sealed),
        "a spoiled body": Submission(raw.replace(SigningKey(own).public, NOBODY.public, 1), mint.sealed),
        "another network": foreign,
        "an issuer that is no member": by_nobody,
        "another's sealed bytes": Submission(raw, other.sealed),
        "no sealed bytes": Submission(raw, b""),
        "a grant by nobody": Submission(
            sign_transaction(
                Grant(TokenId(bytes.fromhex(siege.shared.token)), GrantId(bytes(32)), sealed_hash(b"x")),
                (NOBODY,),
                network,
            ),
            b"x",
        ),
        "nothing at all": Submission(b"\xc1" * 100, b""),
    }


async def test_no_forged_transaction_is_taken_from_anyone(siege: Siege) -> None:
    forged = forged_transactions(siege)
    async with siege.in_use():
        for number, item in enumerate(forged.values()):
            stranger = (b"forger %d" % number).ljust(32, b".")
            request = framed(encode(SubmitRequest((item,))))
            await hostile.send_on(siege.stranger(), stranger, siege.prefix + "submit/1", request)
            await siege.forgive()
            frame = framed(encode(Forward((item,))))
            await hostile.send_on(siege.target, siege.rogue, siege.prefix + "consensus/1", frame)
    async with siege.light_client() as client:
        # The genuine one, from which some of them were made, becomes final only when its owner says so.
        assert await client.positions(list(forged.values())) == [None] * len(forged)
    await siege.require_named((b"forger 0").ljust(32, b"."), "")
    await siege.check()


async def test_statements_of_validators_are_not_forged(siege: Siege) -> None:
    rogue, view = place_of_rogue(siege), await siege.view() + 50
    another = (rogue + 1) % 4
    null, final = Statement(0, view, Phase.NULL, NO_BLOCK), Statement(0, view, Phase.FINALIZE, NO_BLOCK)
    quorum = (NO_SIGNATURE,) * 3
    forged = {
        "an unsigned vote": Vote(null, rogue, NO_SIGNATURE),
        "a vote in another's name": Vote(null, another, NO_SIGNATURE),
        "an unsigned nullification": Relay(Certificate(null, 0b0111, quorum)),
        "an unsigned finalization": Relay(Certificate(final, 0b1110, quorum)),
        "a certificate of one": Relay(Certificate(null, 0b0001, quorum[:1])),
    }
    async with siege.in_use():
        for message in forged.values():
            await siege.forgive()
            # The first is judged in the machine's turn, and the next finds the door shut.
            frames = [framed(encode(message))] * 40
            await hostile.send_frames(
                siege.target, siege.rogue, siege.prefix + "consensus/1", frames, per_s=40
            )
            await siege.require_named(siege.rogue, "do not verify")
    await siege.check()


async def test_gossip_in_another_members_name_is_not_listened_to(siege: Siege) -> None:
    honest = next(
        one.id_key
        for one in genesis_of(siege.stage).members
        if one.id_key not in (siege.target.id_key, SigningKey(siege.rogue).public)
    )
    async with siege.in_use():
        for topic in ("blocks", "urgent"):
            await siege.forgive()
            forged = payloads.unsigned_gossip(siege.prefix + topic, honest)
            await hostile.send_on(siege.target, siege.rogue, MESHSUB, forged)
            await siege.require_named(siege.rogue, "did not sign")
    await siege.check()


# Replay.


async def test_what_is_played_again_changes_nothing(siege: Siege) -> None:
    """By strangers, by a member, and as gossip: also what no cache remembers any more."""
    await siege.forgive()
    made = siege.workload.mints(3)
    async with siege.light_client() as client:
        await client.make_final(made)
        before = await client.positions(made)
        for _ in range(10):
            assert await client.taken(made) == [True] * len(made)
    async with siege.in_use():
        await forward(siege, made * TIMES, per_s=1_000)
        urgent = [
            payloads.signed_gossip(siege.prefix + "urgent", siege.rogue, encode(item), number=number)
            for number, item in enumerate(made * (TIMES // 10))
        ]
        await hostile.send_frames(siege.target, siege.rogue, MESHSUB, urgent, per_s=90)
    async with siege.light_client() as client:
        assert None not in before
        assert await client.positions(made) == before
    await siege.check()


# Junk and bursts.


def junk_grants(siege: Siege, count: int) -> list[Submission]:
    """Signed as they should be, and about a record that nobody knows."""
    network, name = network_id(genesis_of(siege.stage)), TokenId(bytes(32))
    sealed = b"sealed"
    return [
        Submission(
            sign_transaction(
                Grant(name, GrantId(seed("junk", number)), sealed_hash(sealed)), (NOBODY,), network
            ),
            sealed,
        )
        for number in range(count)
    ]


async def test_junk_within_its_quota_is_only_work(siege: Siege) -> None:
    await siege.forgive()
    junk = junk_grants(siege, JUNK)
    async with siege.in_use():
        await forward(siege, junk, per_s=JUNK_PER_S)
    await siege.check()


async def test_a_member_that_fills_every_block_holds_nobody_up(siege: Siege) -> None:
    """These the ledger takes: the member has the right to mint them, and the others theirs to be heard."""
    await siege.forgive()
    rogue = new_workload(siege.stage, siege.rogue)
    async with siege.in_use():
        await forward(siege, rogue.mints(JUNK), per_s=JUNK_PER_S)
    await siege.check()


async def test_an_honest_burst_is_all_final_soon(siege: Siege) -> None:
    burst = siege.workload.mints(BURST)
    async with siege.light_client() as client:
        with trio.fail_after(BURST_S):
            await client.make_final(burst)
    await siege.check()
