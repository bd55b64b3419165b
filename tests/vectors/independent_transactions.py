"""The second reader's transactions and final blocks, from the description alone."""

from typing import Any

from tests.vectors.independent import (
    block_hash,
    certificate,
    check_signature,
    digest,
    need,
    shape,
    tree_root,
)
from tests.vectors.plain_msgpack import unpack

APPROVALS: tuple[int | None, ...] = ()
REASONS = {4: {"guardian", "majority", "estate", "recovery", "merge"}}
REASONS[10] = {"evidence", "key-compromised", "contract", "unreachable", "other"}
BODIES: dict[
    int, tuple[str, tuple[int | None, ...]]
] = {  # transactions by tag: fields after it, and which of them sign, in order (None: any one key)
    1: ("gkkhx*h*", (1,)),
    2: ("hhh", (None,)),
    3: ("hh", (None,)),
    4: ("hutkkhxh*", (None, 3, 4)),
    5: ("hukkhxh*", (2, 3)),
    6: ("huk", (None, 2)),
    7: ("kuh", (0,)),
    8: ("*hsu", APPROVALS),
    9: ("ku", APPROVALS),
    10: ("ktu", APPROVALS),
    11: ("ku", APPROVALS),
    12: ("kk", (0, 1)),
}


def transaction(raw: bytes, network: bytes) -> tuple[bytes, int, list[Any]]:
    """Id, tag and fields of a transaction whose signatures verify."""
    need(len(raw) <= 16 * 1024, "too long")
    body, signatures = shape(unpack(raw), "b*")
    value = unpack(body)
    need(isinstance(value, list) and value and type(value[0]) is int, "not a body")
    tag, *fields = value
    need(tag in BODIES, "no transaction of version 1")
    letters, signers = BODIES[tag]
    shape(fields, letters)
    _check_rules(tag, fields, network)
    keys = [shape(signature, "ks")[0] for signature in signatures]
    if signers is APPROVALS:
        need(1 <= len(keys) <= 64 and keys == sorted(set(keys)), "approvals not distinct and rising")
    else:
        wanted = [key if at is None else fields[at] for at, key in zip(signers, keys, strict=False)]
        need(len(keys) == len(signers) and keys == wanted, "another signer")
    for key, signature in signatures:
        check_signature(key, "transaction", network, body, signature)
    return digest("transaction", raw), tag, fields


def _check_rules(tag: int, fields: list[Any], network: bytes) -> None:
    if tag in REASONS:
        need(fields[2 if tag == 4 else 1] in REASONS[tag], "no such reason")
    if tag in (4, 5):
        keep = fields[-1]
        need(isinstance(keep, list) and len(keep) <= 64, "too many grants kept")
        need(keep == sorted(set(shape(keep, "h" * len(keep)))), "grants kept not distinct and rising")
    if tag == 1:
        suite, chunk, length, chunks, *_ = shape(fields[5], "uuuuhhhh")
        need(suite == 1 and chunk == 256 * 1024 and 0 < length <= 64 << 30, "no such content")
        need(0 < chunks <= 2 * (64 << 30) // chunk, "no such number of chunks")
        body, signature = shape(fields[7], "bs")
        need(len(body) <= 1024 and shape(unpack(body), "kkhxu")[:4] == fields[1:5], "another enrolment")
        check_signature(fields[2], "enrolment", network, body, signature)
    if tag == 8:
        body, by_identity, by_vote = shape(fields[0], "bss")
        name, id_key, vote_key, _, addresses = shape(unpack(body), "tkkx*")
        need(1 <= len(name) <= 64 and name.isprintable() and len(addresses) <= 8, "no card")
        need(all(len(one) <= 256 for one in shape(addresses, "t" * len(addresses))), "no card")
        for key, signature in ((id_key, by_identity), (vote_key, by_vote)):
            check_signature(key, "card", bytes(32), body, signature)
        check_signature(id_key, "terms", network, fields[1], fields[2])


def final_block(raw: bytes, network: bytes, votes: list[bytes]) -> tuple[Any, bytes, list[bytes]]:
    """Header, hash and transaction ids of a block of epoch 0 with its finalization."""
    block, finality = shape(unpack(raw), "**")
    proof, tail = shape(finality, "**")
    header, transactions, sealed = shape(block, "***")
    name = block_hash(header)
    need(header[0] == 1 and header[1] == network and header[2] == 0, "of another network or epoch")
    need(certificate(proof, network, 0, votes)[1:] == (3, name) and tail is None, "not its finalization")
    ids = [transaction(item, network)[0] for item in transactions]
    need(header[7] == tree_root(ids) and len(sealed) == len(ids) <= 512, "other transactions than its root")
    for box in shape(sealed, "b" * len(sealed)):
        need(len(box) <= 4096, "a box too large")
    return header, name, ids
