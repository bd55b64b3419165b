"""A peer of another make: js-libp2p against a real clinic, its bytes read from their description alone."""

from pathlib import Path
from typing import Any

import pytest
import trio

from node.adapters import SystemClock
from node.bench.workload import Workload
from node.demo.stage import Stage
from node.ports import PeerAddress
from protocol import limits
from protocol.blocks import block_hash, network_id
from protocol.codec import encode
from protocol.keys import SigningKey
from tests.e2e.clinics import add_record, genesis_of, keys_of, member_of
from tests.e2e.witness import WITNESS, three_daemons_and_a_witness
from tests.interop.js_peer import Event, js_peer
from tests.vectors import independent, independent_state, independent_transactions
from tests.vectors.plain_msgpack import pack, unpack

FOLLOWER_SEED = b"js follower seed of 32 bytes ..."
FOLLOWER = SigningKey(FOLLOWER_SEED)
BLOCKS_FOLLOWED = 3
HEADERS, LOCATE, BLOCKS = 1, 3, 1
HEADERS_WAIT_MS = 0
HEADERS_REPLY, LOCATE_REPLY = 2, 4


async def ask_as_stranger(stage: Stage, folder: Path, asks: list[tuple[str, bytes]]) -> list[Event]:
    """What a clinic answers a js peer that nobody knows; first it is pinged."""
    clinic = member_of(stage, stage.clinics["clinic-a"])
    network, _ = independent.genesis(independent_state.encoded_genesis(stage.genesis.read_text()))
    async with js_peer(
        folder / "js.log",
        address=clinic.addresses[0],
        peer=clinic.id_key.hex(),
        prefix=f"/chartmesh/{network.hex()[:16]}/",
        ask=[(protocol, request.hex()) for protocol, request in asks],
    ) as peer:
        connected, pinged = await peer.next(), await peer.next()
        assert (connected["event"], pinged["event"]) == ("connected", "ping")
        answers = [await peer.next() for _ in asks]
        return answers


async def test_a_stranger_written_in_js_pings_a_clinic_and_proves_a_record_final(
    stage: Stage, tmp_path: Path
) -> None:
    token = bytes.fromhex((await add_record(stage, stage.clinics["clinic-a"], b"seen from js"))["token"])
    raw_genesis = independent_state.encoded_genesis(stage.genesis.read_text())
    network, votes = independent.genesis(raw_genesis)
    [located_reply] = await ask_as_stranger(stage, tmp_path, [("light", pack([LOCATE, [token], 8000]))])
    tag, [located] = unpack(bytes.fromhex(located_reply["bytes"]))
    raw, height, block, index, size, path = located
    assert tag == LOCATE_REPLY

    headers: list[Any] = []
    name = independent_state.genesis_hash(raw_genesis)
    # A reply has so many headers at most, and none above the newest that was finalized itself.
    while len(headers) < height:
        ask = ("light", pack([HEADERS, len(headers) + 1, HEADERS_WAIT_MS]))
        [headers_reply] = await ask_as_stranger(stage, tmp_path, [ask])
        tag, page, finality, opening, closing, _ = unpack(bytes.fromhex(headers_reply["bytes"]))
        assert (tag, opening, closing) == (HEADERS_REPLY, None, None)
        for header in page:
            headers.append(header)
            assert (header[3 + 1], header[5]) == (len(headers), name), "not the child of the header before"
            name = independent.block_hash(header)
        if page:
            certificate, tail = finality
            assert tail is None
            assert independent.certificate(certificate, network, 0, votes)[1:] == (3, name)
    assert block == independent.block_hash(headers[height - 1])
    assert independent_transactions.transaction(raw, network)[0] == token
    assert independent.path_root(token, index, size, path) == headers[height - 1][7]


@pytest.mark.parametrize("protocol", ["blocks", "consensus"])
async def test_what_is_for_members_is_not_opened_for_a_stranger_written_in_js(
    stage: Stage, tmp_path: Path, protocol: str
) -> None:
    [answer] = await ask_as_stranger(stage, tmp_path, [(protocol, pack([BLOCKS, 1]))])
    assert answer["event"] == "refused"


def test_the_network_id_that_the_description_gives_is_the_daemons(stage: Stage) -> None:
    raw = independent_state.encoded_genesis(stage.genesis.read_text())
    assert independent.genesis(raw)[0] == network_id(genesis_of(stage))


async def test_a_member_written_in_js_follows_the_blocks_and_verifies_each(tmp_path: Path) -> None:
    """A clinic that this process runs counts the peer among the members, as a follower that has no vote.

    What the clinic publishes is read from the description alone, and is what the clinic itself made final.
    """
    async with three_daemons_and_a_witness(tmp_path) as scene:
        genesis = scene.clinic.genesis
        own = member_of(scene.stage, scene.stage.clinics[WITNESS])
        members = [PeerAddress(one.id_key, one.addresses) for one in genesis.members]
        scene.transport.set_members([*members, PeerAddress(FOLLOWER.public)])
        network, votes = independent.genesis(encode(genesis))
        issuers = [SigningKey(keys_of(actor).identity_seed) for actor in scene.stage.clinics.values()]
        far_ms = SystemClock().wall_ms() + limits.DAY_MS
        workload = Workload(scene.clinic.network, issuers, not_after_ms=far_ms)
        async with (
            js_peer(
                tmp_path / "js.log",
                address=own.addresses[0],
                peer=own.id_key.hex(),
                prefix=f"/chartmesh/{network.hex()[:16]}/",
                seed=FOLLOWER_SEED.hex(),
                follow=True,
            ) as peer,
            trio.open_nursery() as nursery,
        ):
            await peer.until("ping")
            nursery.start_soon(scene.load, next(iter(scene.daemons)), workload)
            heard = 0
            while heard < BLOCKS_FOLLOWED:
                event = await peer.until("message")
                assert event["topic"] == f"/chartmesh/{network.hex()[:16]}/blocks"
                raw = bytes.fromhex(event["bytes"])
                header, name, ids = independent_transactions.final_block(raw, network, votes)
                known = scene.clinic.services.ledger.header(header[4])
                assert known is not None
                assert block_hash(known) == name
                heard += len(ids) > 0
            nursery.cancel_scope.cancel()
