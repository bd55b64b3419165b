"""The final chain on a node's disk: its blocks, and the committees that it leads to, verified from the
genesis file on as a node that knows nothing else would."""

from node.chain.ledger import StoredOpening
from node.store import layout
from protocol.blocks import (
    Block,
    Committee,
    Finality,
    Genesis,
    Header,
    block_hash,
    decode_block,
    genesis_committee,
)
from protocol.chain import genesis_header
from protocol.codec import decode
from protocol.epochs import next_committee
from protocol.finality import verify_final
from protocol.limits import MIB
from protocol.transactions import transaction_id
from tests.sim.disk import Disk
from tests.sim.invariants import FinalBlock


def final_chain(disk: Disk) -> list[FinalBlock]:
    """What the invariants need to know of the final blocks on a disk."""
    return [final_block(block) for block in chain(disk)]


def chain(disk: Disk) -> list[Block]:
    """The final blocks on a disk from height 1 on."""
    blocks: list[Block] = []
    while (raw := disk.ledger.get(layout.block(len(blocks) + 1))) is not None:
        blocks.append(decode_block(raw))
    return blocks


def verified_committees(genesis: Genesis, disk: Disk) -> list[Committee]:
    """The committees of all epochs on a disk, its whole chain verified from the genesis file on.

    Raises:
        RemoteProtocolError: some of it does not verify.
    """
    committees, root = [genesis_committee(genesis)], genesis_header(genesis)
    waiting: list[Header] = []
    for block in chain(disk):
        header = block.header
        if header.epoch != root.epoch and not waiting:
            raw = disk.ledger.get(layout.opening(header.epoch))
            assert raw is not None, "an epoch without its opening"
            stored = decode(StoredOpening, raw, limit=MIB)
            if header.epoch != committees[-1].epoch:
                committees.append(next_committee(root, stored.opening))
        waiting.append(header)
        shown = disk.ledger.get(layout.finality(header.height))
        if shown is not None:
            verify_final(root, waiting, decode(Finality, shown, limit=MIB), committees[-1])
            root, waiting = header, []
    assert not waiting, "a head without its finality"
    raw = disk.ledger.get(layout.opening(committees[-1].epoch + 1))
    if raw is not None:
        committees.append(next_committee(root, decode(StoredOpening, raw, limit=MIB).opening))
    return committees


def final_block(block: Block) -> FinalBlock:
    """What the invariants need to know of a block."""
    header = block.header
    return FinalBlock(
        header.height,
        block_hash(header),
        header.parent,
        header.epoch,
        header.view,
        header.time_ms,
        header.state_root,
        tuple(transaction_id(raw) for raw in block.transactions),
    )
