"""Vectors of certificates, blocks, the genesis file, inclusion paths and proofs of state."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from protocol import merkle
from protocol.blocks import (
    NO_BLOCK,
    Block,
    BlockHash,
    Certificate,
    Phase,
    Statement,
    block_hash,
    network_id,
    sign_statement,
)
from protocol.chain import genesis_header
from protocol.codec import digest, encode
from protocol.keys import SigningKey
from protocol.statemap import StateMap
from tests.ledger_world import CLINICS, GENESIS, NETWORK, START, VOTERS, build, grant, keys, mint
from tests.vectors.cases import Case
from tests.vectors.plain_msgpack import pack

NAME = BlockHash(b"b" * 32)
MANY = tuple(SigningKey(digest("vector-voter", bytes((at,)))) for at in range(20))


def certified(
    statement: Statement, voters: tuple[SigningKey, ...], signers: list[int], network: bytes = NETWORK
) -> Certificate:
    signatures = tuple(sign_statement(statement, voters[at], network) for at in signers)  # type: ignore[arg-type]
    return Certificate(statement, sum(1 << at for at in set(signers)), signatures)


def certificates() -> Iterator[Case]:
    final = Statement(3, 9, Phase.FINALIZE, NAME)
    for count, quorum in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (20, 14)):
        made = certified(final, MANY, list(range(count))[-quorum:])
        yield _certificate(f"quorum-of-{count}", "", made, count, gives=NAME.hex())
        if count > 1:
            few = certified(final, MANY, list(range(quorum - 1)))
            yield _certificate(f"quorum-of-{count}-less-one", f"{quorum - 1} of {count} signed", few, count)
    yield _certificate("all-four", "", certified(final, MANY, [0, 1, 2, 3]), 4, gives=NAME.hex())
    good = certified(final, MANY, [0, 1, 3])
    for phase, block in ((Phase.VOTE, NAME), (Phase.NULL, NO_BLOCK)):
        statement = Statement(3, 9, phase, block)
        made = certified(statement, MANY, [0, 2, 3])
        yield _certificate(f"phase-{phase.value}", "", made, 4, gives=block.hex())
    for what, wrong, statement in (
        ("other-epoch", "the statement is of another epoch", replace(final, epoch=4)),
        ("negative-epoch", "the epoch is negative", replace(final, epoch=-1)),
        ("view-0", "there is no view 0", replace(final, view=0)),
        ("phase-0", "no such phase", replace(final, phase=0)),
        ("phase-4", "no such phase", replace(final, phase=4)),
        ("final-without-block", "FINALIZE names no block", replace(final, block=NO_BLOCK)),
        ("null-with-block", "NULL names a block", replace(final, phase=2)),
        ("short-hash", "the block's hash has 31 bytes", replace(final, block=BlockHash(NAME[:31]))),
    ):
        yield _certificate(what, wrong, certified(statement, MANY, [0, 1, 3]), 4)
    one, two, three = good.signatures
    for what, wrong, signers, signatures in (
        ("duplicate-signature", "one validator's signature counts twice", 11, (one, one, three)),
        ("duplicate-hidden", "two signers, three signatures", 3, (one, two, two)),
        ("other-order", "signatures in another order", 11, (two, one, three)),
        ("signature-more", "a signature more than signers", 11, (one, two, three, three)),
        ("signature-less", "a signature less than signers", 15, (one, two, three)),
        ("other-signer", "the bits name another validator", 7, (one, two, three)),
        ("signer-outside", "a signer outside of the committee", 11 | 1 << 4, (one, two, three, three)),
        ("negative-signers", "the bits are negative", -1, (one, two, three)),
        ("no-signatures", "nobody signed", 0, ()),
        ("short-signature", "a signature of 63 bytes", 11, (one, two, three[:63])),
        (
            "flipped",
            "a bit of a signature is changed",
            11,
            (one, two, three[:-1] + bytes((three[-1] ^ 1,))),
        ),
    ):
        yield _certificate(what, wrong, Certificate(final, signers, signatures), 4)
    foreign = certified(final, MANY, [0, 1, 3], b"m" * 32)
    yield _certificate("other-network", "signed for another network", foreign, 4)
    strangers = certified(final, MANY[4:], [0, 1, 3])
    yield _certificate("other-committee", "signed by keys that have no vote", strangers, 4)


def _certificate(name: str, wrong: str, made: Certificate, count: int, gives: str = "") -> Case:
    votes = [key.public.hex() for key in MANY[:count]]
    given = {"network": NETWORK.hex(), "epoch": 3, "votes": votes, "raw": encode(made).hex()}
    return Case("certificate", name, wrong, given, gives)


def blocks() -> Iterator[Case]:
    items = [mint("vector"), mint("other", by=CLINICS[1])]
    items.append(grant(items[0].token, 1, keys("vector").owner))
    block = build(genesis_header(GENESIS), START, items).block
    yield _block("three-transactions", "", block, gives=block_hash(block.header).hex())
    empty = build(genesis_header(GENESIS), START, []).block
    yield _block("heartbeat", "", empty, gives=block_hash(empty.header).hex())
    first, second, third = block.transactions
    boxes, head = block.sealed, block.header
    for what, wrong, changed in (
        ("transaction-less", "a transaction is missing", Block(head, (first, second), boxes[:2])),
        (
            "transaction-twice",
            "a transaction comes twice",
            Block(head, (first, second, third, third), (*boxes, boxes[2])),
        ),
        (
            "other-order",
            "transactions in another order",
            Block(head, (second, first, third), (boxes[1], boxes[0], boxes[2])),
        ),
        ("sealed-less", "a sealed entry is missing", Block(head, block.transactions, boxes[:2])),
        (
            "sealed-large",
            "a sealed entry over 4 KiB",
            Block(head, block.transactions, (*boxes[:2], bytes(4097))),
        ),
        (
            "spoiled-transaction",
            "a transaction's signature is changed",
            Block(head, (first[:-1] + b"\0", second, third), boxes),
        ),
        ("version", "another version", Block(replace(head, version=2), block.transactions, boxes)),
        ("network", "another network", Block(replace(head, network=b"m" * 32), block.transactions, boxes)),
        (
            "epoch",
            "another epoch than its certificate",
            Block(replace(head, epoch=1), block.transactions, boxes),
        ),
        (
            "tx-root",
            "another transaction root",
            Block(replace(head, tx_root=bytes(32)), block.transactions, boxes),
        ),
        (
            "short-root",
            "a state root of 31 bytes",
            Block(replace(head, state_root=bytes(31)), block.transactions, boxes),
        ),
        (
            "negative-height",
            "a negative height",
            Block(replace(head, height=-1), block.transactions, boxes),
        ),
    ):
        yield _block(what, wrong, changed)
    for name, value in (
        ("view", 2),
        ("height", 2),
        ("time_ms", 1),
        ("state_root", bytes(32)),
        ("proposer", VOTERS[1].public),
    ):
        other = Block(replace(head, **{name: value}), block.transactions, boxes)
        yield _block(
            f"certificate-of-other-{name}",
            "the certificate is of a header with another " + name,
            other,
            of=block,
        )
    yield _block("notarized", "its certificate is a notarization", block, phase=Phase.VOTE)


def _block(
    name: str,
    wrong: str,
    block: Block,
    *,
    of: Block | None = None,
    phase: Phase = Phase.FINALIZE,
    gives: str = "",
) -> Case:
    signed = block_hash((of or block).header)
    made = certified(Statement(0, 1, phase, signed), VOTERS, [0, 1, 2])
    given = {
        "network": NETWORK.hex(),
        "votes": [key.public.hex() for key in VOTERS],
        "block": encode(block).hex(),
        "certificate": encode(made).hex(),
    }
    return Case("block", name, wrong, given, gives)


def geneses() -> Iterator[Case]:
    raw, members = encode(GENESIS), GENESIS.members
    yield Case("genesis", "four-members", "", {"raw": raw.hex()}, network_id(GENESIS).hex())
    one = replace(GENESIS, members=members[:1])
    yield Case("genesis", "one-member", "", {"raw": encode(one).hex()}, network_id(one).hex())
    for what, wrong, changed in (
        ("version-2", "another version", replace(GENESIS, version=2)),
        ("nobody", "no members", replace(GENESIS, members=())),
        (
            "name-twice",
            "two members of one name",
            replace(GENESIS, members=(members[0], replace(members[1], name=members[0].name))),
        ),
        (
            "key-twice",
            "two members of one vote key",
            replace(GENESIS, members=(members[0], replace(members[1], vote_key=members[0].vote_key))),
        ),
        (
            "name-empty",
            "a member without a name",
            replace(GENESIS, members=(replace(members[0], name=""),)),
        ),
        (
            "name-unprintable",
            "a name that runs backwards",
            replace(GENESIS, members=(replace(members[0], name="\N{RIGHT-TO-LEFT OVERRIDE}a"),)),
        ),
        (
            "short-key",
            "a key of 32 bytes",
            replace(GENESIS, members=(replace(members[0], id_key=members[0].id_key[:32]),)),
        ),
        (
            "other-algorithm",
            "a key of another algorithm",
            replace(GENESIS, members=(replace(members[0], id_key=b"\x03" + members[0].id_key[1:]),)),
        ),
    ):
        yield Case("genesis", what, wrong, {"raw": encode(changed).hex()})
    yield Case("genesis", "trailing", "a byte after it", {"raw": (raw + b"\0").hex()})


def inclusions() -> Iterator[Case]:
    for size in (1, 2, 3, 5, 8, 13):
        leaves = [b"leaf %d" % at for at in range(size)]
        index = size - 1 if size != 8 else 3
        root, path = merkle.root(leaves), merkle.prove(leaves, index)
        yield _inclusion(f"{size}-{index}", "", leaves[index], index, size, path, root)
        yield _inclusion(f"{size}-other-leaf", "another leaf", b"other", index, size, path, root)
        longer = (*path, bytes(32))
        yield _inclusion(f"{size}-path-long", "a path too long", leaves[index], index, size, longer, root)
        yield _inclusion(f"{size}-outside", "no such leaf", leaves[index], size, size, path, root)
        if path:
            yield _inclusion(
                f"{size}-path-short", "a path too short", leaves[index], index, size, path[1:], root
            )
            before = (index + size - 1) % size
            yield _inclusion(
                f"{size}-other-index", "another index", leaves[index], before, size, path, root
            )


def _inclusion(
    name: str, wrong: str, leaf: bytes, index: int, size: int, path: tuple[bytes, ...], root: bytes
) -> Case:
    given = {
        "leaf": leaf.hex(),
        "index": index,
        "size": size,
        "path": [item.hex() for item in path],
        "root": root.hex(),
    }
    return Case("inclusion", name, wrong, given)


def proofs() -> Iterator[Case]:
    full = StateMap.empty().update({digest("vector", bytes((at,))): b"value %d" % at for at in range(40)})
    key, absent = digest("vector", b"\x05"), digest("vector", b"absent")
    for name, asked, value in (("present", key, b"value 5"), ("absent", absent, None)):
        proof = full.prove(asked)
        raw = encode(proof)
        yield _proof(name, "", full.root, asked, value, raw)
        wrong_value = b"value 6" if value else b"value"
        yield _proof(f"{name}-other-value", "another value", full.root, asked, wrong_value, raw)
        yield _proof(
            f"{name}-denied",
            "said to be what it is not",
            full.root,
            asked,
            b"x" if value is None else None,
            raw,
        )
        yield _proof(f"{name}-other-root", "another root", bytes(32), asked, value, raw)
        short = encode(replace(proof, siblings=proof.siblings[:-1]))
        yield _proof(f"{name}-short", "a sibling is missing", full.root, asked, value, short)
        zeros = encode(replace(proof, siblings=(bytes(32), *proof.siblings[1:])))
        yield _proof(f"{name}-zeros", "a sibling replaced by zeros", full.root, asked, value, zeros)
        yield _proof(
            f"{name}-other-key", "of another key", full.root, digest("vector", b"\x06"), value, raw
        )
    alone = StateMap.empty().update({key: b"alone"})
    yield _proof("alone", "", alone.root, key, b"alone", encode(alone.prove(key)))
    yield _proof("beside", "", alone.root, absent, None, encode(alone.prove(absent)))
    yield _proof("empty", "", StateMap.empty().root, key, None, encode(StateMap.empty().prove(key)))
    own = pack([[], [key, digest("x")]])
    yield _proof("itself-beside", "absent beside itself", alone.root, key, None, own)


def _proof(name: str, wrong: str, root: bytes, key: bytes, value: bytes | None, raw: bytes) -> Case:
    said: Any = None if value is None else value.hex()
    return Case(
        "proof", name, wrong, {"root": root.hex(), "key": key.hex(), "value": said, "raw": raw.hex()}
    )
