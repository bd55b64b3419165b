"""Vectors of transactions: each type valid, and with one thing wrong, all else signed as it should be."""

from collections.abc import Iterator
from typing import Any

from protocol.blocks import sign_card
from protocol.codec import encode
from protocol.keys import SigningKey
from protocol.transactions import Body, Envelope, Mint, Signature, sign_transaction, transaction_id
from tests.fuzz.mutate import header
from tests.sample_transactions import CARD, CLINIC, HEIR, NETWORK, OWNER, SIGNED, VOTER, admit
from tests.vectors.cases import Case
from tests.vectors.plain_msgpack import pack, unpack

Signers = tuple[SigningKey, ...]


def transactions() -> Iterator[Case]:
    for body, signers in SIGNED:
        name = type(body).__name__.lower()
        raw = sign_transaction(body, signers, NETWORK)
        yield _case(f"{name}", "", raw, gives=transaction_id(raw).hex())
        for what, wrong, spoiled in (
            *_forms(raw),
            *_signatures(body, signers, raw),
            *_fields(body, signers),
        ):
            yield _case(f"{name}-{what}", wrong, spoiled)
    for what, wrong, fields, signers in _rules():
        yield _case(what, wrong, _signed(fields, signers))


def _case(name: str, wrong: str, raw: bytes, gives: str = "") -> Case:
    return Case("transaction", name, wrong, {"network": NETWORK.hex(), "raw": raw.hex()}, gives)


def _signed(fields: list[Any], signers: Signers) -> bytes:
    """Any fields as a body, signed."""
    body = pack(fields)
    signatures = tuple(Signature(key.public, key.sign("transaction", NETWORK, body)) for key in signers)
    return encode(Envelope(body, signatures))


def _forms(raw: bytes) -> Iterator[tuple[str, str, bytes]]:
    body, signatures = unpack(raw)
    yield "trailing-byte", "a byte after the envelope", raw + b"\0"
    yield "cut", "the last byte is missing", raw[:-1]
    yield "long-array", "the envelope's array has a longer header than it needs", b"\xdc\0\2" + raw[1:]
    long_body = b"\x92" + header("bin", len(body), longest=True) + body + pack(signatures)
    yield "long-bytes", "the body's length has a longer form than it needs", long_body
    yield "third-field", "the envelope has a field more", pack([body, signatures, None])
    yield "map", "the envelope is a map", b"\x82\0" + pack(body) + b"\1" + pack(signatures)


def _signatures(body: Body, signers: Signers, raw: bytes) -> Iterator[tuple[str, str, bytes]]:
    encoded, signatures = unpack(raw)
    other = sign_transaction(body, signers, b"m" * 32)
    yield "other-network", "signed for another network", other
    for at, (key, signature) in enumerate(signatures):
        flipped = signature[:-1] + bytes((signature[-1] ^ 1,))
        changed = [*signatures[:at], [key, flipped], *signatures[at + 1 :]]
        yield f"signature-{at}", f"a bit of signature {at} is changed", pack([encoded, changed])
        short = [*signatures[:at], [key, signature[:-1]], *signatures[at + 1 :]]
        yield f"signature-{at}-short", f"signature {at} has 63 bytes", pack([encoded, short])
        left = [*signatures[:at], *signatures[at + 1 :]]
        if type(body).__name__ not in ("Admit", "Promote", "Suspend", "Remove"):
            yield f"without-{at}", f"signature {at} is missing", pack([encoded, left])
    yield "no-signatures", "nobody signed", pack([encoded, []])
    yield "twice", "the last signature comes twice", pack([encoded, [*signatures, signatures[-1]]])
    if len(signatures) > 1:
        yield "other-order", "the signatures are in another order", pack([encoded, signatures[::-1]])
    kind = signers[0].sign("statement", NETWORK, encoded)
    wrong_kind = [[signers[0].public, kind], *signatures[1:]]
    yield "other-kind", "signed as another kind of statement", pack([encoded, wrong_kind])


def _fields(body: Body, signers: Signers) -> Iterator[tuple[str, str, bytes]]:
    """Each field of the body of another size, sign or type, and one field less and more."""
    fields = unpack(encode(body))
    names = ("tag", *body.__struct_fields__)
    for at, (name, value) in enumerate(zip(names, fields, strict=True)):
        wrongs: list[tuple[str, Any]] = [("nil", None)]
        if isinstance(value, bytes):
            wrongs += [("short", value[:-1]), ("long", value + b"\0")]
        elif isinstance(value, int):
            wrongs += [("negative", -1), ("truth", True)]
        elif isinstance(value, str):
            wrongs += [("unknown", "nothing"), ("as-bytes", value.encode())]
        else:
            wrongs += [("empty", [])] if name != "keep" else [("number", 5)]
        for what, other in wrongs:
            raw = _signed([*fields[:at], other, *fields[at + 1 :]], signers)
            yield f"{name}-{what}", f"field {name} is {what}", raw
    yield "field-less", "the last field is missing", _signed(fields[:-1], signers)
    yield "field-more", "there is a field more", _signed([*fields, 0], signers)
    yield "unknown-tag", "no transaction has this tag", _signed([99, *fields[1:]], signers)


def _rules() -> Iterator[tuple[str, str, list[Any], Signers]]:
    """What a type's own rules forbid."""
    mint, signers = SIGNED[0]
    assert isinstance(mint, Mint)
    fields = unpack(encode(mint))
    for at, name in enumerate(("issuer", "owner-key", "next-key-hash", "enc-key"), 2):
        for_other = list(fields)
        for_other[at] = fields[at][:1] + bytes(32) if at != 4 else bytes(32)
        by = (signers[0],)
        yield f"mint-enrolment-other-{name}", f"the enrolment names another {name}", for_other, by
    content = fields[6]
    for at, name, value in ((0, "suite", 2), (1, "chunk", 1024), (2, "length", 0), (3, "chunks", 0)):
        other = [*content[:at], value, *content[at + 1 :]]
        spoiled = [*fields[:6], other, *fields[7:]]
        yield f"mint-content-{name}", f"the content's {name} is not allowed", spoiled, signers
    transfer, by_three = SIGNED[3]
    turned = unpack(encode(transfer))
    for what, keep in (("falling", turned[-1][::-1]), ("repeated", [turned[-1][0]] * 2)):
        yield f"transfer-keep-{what}", f"grants kept are {what}", [*turned[:-1], keep], by_three
    many = [number.to_bytes(32, "big") for number in range(65)]
    yield "transfer-keep-65", "65 grants are kept", [*turned[:-1], many], by_three
    by_other = (*by_three[:2], OWNER)
    yield "transfer-by-other", "the new owner key did not sign, another did", turned, by_other
    accepted, approvers = unpack(encode(admit())), SIGNED[7][1]
    foreign = unpack(encode(admit(network=b"m" * 32)))
    yield "admit-terms-elsewhere", "the terms were accepted in another network", foreign, approvers
    forged = unpack(encode(sign_card(CARD, HEIR, VOTER)))
    yield (
        "admit-card-forged",
        "the card is not signed by its identity key",
        [8, forged, *accepted[2:]],
        approvers,
    )
    half = unpack(encode(sign_card(CARD, CLINIC, HEIR)))
    yield "admit-card-half", "the card is not signed by its vote key", [8, half, *accepted[2:]], approvers
