"""Every way in for bytes from others and from the own disk, and what may come of them.

A door takes bytes and gives a value, or refuses them with its own error and with no other. What it lets
in, it gives back byte for byte.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, get_args

from msgspec.structs import replace

from protocol import export, limits
from protocol.access import FetchRequest, SignedFetchRequest, sign_fetch, verify_fetch
from protocol.armour import unwrap, wrap
from protocol.blobs import check_content
from protocol.blocks import (
    Block,
    Certificate,
    Committee,
    Genesis,
    Member,
    NetworkId,
    Phase,
    SignedCard,
    Statement,
    decode_block,
    decode_genesis,
    sign_card,
    sign_statement,
    verify_card,
    verify_certificate,
)
from protocol.codec import Wire, decode, digest, encode
from protocol.codes import ReceiveCode, decode_code, encode_code
from protocol.control import (
    AnyRequest,
    decode_reply,
    decode_request,
    encode_document,
    encode_request,
    result_of,
)
from protocol.errors import Malformed, RemoteProtocolError, UserError
from protocol.evidence import Evidence, decode_evidence
from protocol.grants import GrantBody, decode_grant_body
from protocol.invitations import Invitation, decode_invitation, encode_invitation, sign_invitation
from protocol.keys import SigningKey
from protocol.limits import NetworkLimits
from protocol.messages import audit, blob, blocks, consensus, light, members, submit
from protocol.proofs import Standing, StateProof, verify_state
from protocol.state import Entry, decode_entry
from protocol.statemap import Proof, StateMap, verify_proof
from protocol.transactions import (
    Content,
    SignedEnrolment,
    decode_transaction,
    sign_enrolment,
    sign_transaction,
    verify_enrolment,
    verify_transaction,
)
from protocol.two_chains import decode_two_chains
from tests.control_samples import REQUESTS, RESULTS
from tests.fuzz import boxes, gifts, parsed, studies
from tests.fuzz.values import Maker, encoded, full_name, wire_types
from tests.ledger_world import GENESIS
from tests.proof_world import ASKED, HEADER, proof_of
from tests.sample_transactions import ENROLMENT, ISSUER, NETWORK, OWNER, SIGNED
from tests.unit.test_two_chains import made_proof

ANY_BYTES_MAX: Final = 16 * limits.MIB
_LIMITS: Final = NetworkLimits()
_VOTERS: Final = tuple(SigningKey(bytes((number,)) * 32) for number in range(1, 5))
_COMMITTEE: Final = Committee(NetworkId(NETWORK), 0, tuple(key.public for key in _VOTERS))
_MAP: Final = StateMap.empty().update({digest("fuzz", bytes((at,))): b"value" for at in range(64)})
_ASKED: Final = list(ASKED.values())
_KEY: Final = digest("fuzz", b"\x07")
_NONCE: Final = b"n" * 16
_REPLIES: Final = 3

Sample = Callable[[random.Random], bytes]


@dataclass(frozen=True)
class Door:
    """`enter` gives what it lets in as bytes again; `sample` makes bytes that it should let in.

    `function` is the name of the decoder behind it, `refusals` are its own errors.
    """

    name: str
    enter: Callable[[bytes], bytes]
    sample: Sample
    function: str
    refusals: tuple[type[Exception], ...] = (Malformed,)


def judge(door: Door, raw: bytes) -> bool:
    """Whether `door` lets `raw` in. Any error but its own passes through: it is the finding.

    Raises:
        AssertionError: let in, and not the bytes of what was understood.
    """
    try:
        again = door.enter(raw)
    except door.refusals:
        return False
    assert again == raw, f"{door.name} let in {raw.hex()} and understood {again.hex()}"
    return True


def _again(read: Callable[[bytes], Any], raw: bytes) -> bytes:
    return encode(read(raw))


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__name__}"


def _reader(read: Callable[..., Any], union: object, *arguments: object, **fields: object) -> list[Door]:
    """A door for each type that `read` may give. `fields` are what it wants to find in the value."""

    def enter(raw: bytes) -> bytes:
        return encode(read(raw, *arguments))

    def sample(kind: type[Wire], dice: random.Random) -> bytes:
        return encode(replace(Maker(dice).make(kind), **fields))

    return [
        Door(f"{_name(read)}: {kind.__name__}", enter, partial(sample, kind), _name(read))
        for kind in get_args(union) or (union,)
    ]


def _typed(kind: type[Wire]) -> Door:
    """The codec alone: what it lets in here, some caller has to bear."""
    read = partial(decode, kind, limit=ANY_BYTES_MAX)
    return Door(full_name(kind), partial(_again, read), partial(encoded, kind), _name(decode))


# Doors behind which a signature, a proof or a box is checked.


def _checked(name: str, kind: type[Wire], check: Callable[[Any], object], sample: Sample) -> Door:
    """Decodes a `kind` and then checks it; a check that says False has refused."""

    def enter(raw: bytes) -> bytes:
        value = decode(kind, raw, limit=ANY_BYTES_MAX)
        if check(value) is False:
            raise Malformed("refused")
        return encode(value)

    return Door(name, enter, sample, name, (RemoteProtocolError,))


def _certificate(dice: random.Random) -> bytes:
    signers = sorted(dice.sample(range(4), dice.choice((3, 4))))
    statement = Statement(0, dice.randint(1, 300), Phase.VOTE, Maker(dice).octets(32))  # type: ignore[arg-type]
    signatures = tuple(sign_statement(statement, _VOTERS[at], _COMMITTEE.network) for at in signers)
    return encode(Certificate(statement, sum(1 << at for at in signers), signatures))


def _card(dice: random.Random) -> bytes:
    made = replace(Maker(dice).make(Member), id_key=ISSUER.public, vote_key=OWNER.public)
    return encode(sign_card(made, ISSUER, OWNER))


def _fetch(dice: random.Random) -> bytes:
    return encode(sign_fetch(replace(Maker(dice).make(FetchRequest), signer=OWNER.public), OWNER, NETWORK))


def _enrolment(_dice: random.Random) -> bytes:
    return encode(sign_enrolment(ENROLMENT, OWNER, NETWORK))


def _evidence(dice: random.Random) -> bytes:
    """Two votes of one validator in one view."""
    view, network = dice.randint(1, 300), _COMMITTEE.network
    one, two = (Statement(0, view, Phase.VOTE, Maker(dice).octets(32)) for _ in range(2))  # type: ignore[arg-type]
    first, second = (sign_statement(item, _VOTERS[0], network) for item in (one, two))
    return encode(Evidence(network, _VOTERS[0].public, one, first, two, second))


def _proof(_dice: random.Random) -> bytes:
    return encode(_MAP.prove(_KEY))


CHECKED: Final = [
    _checked(
        "protocol.blocks.verify_certificate",
        Certificate,
        lambda value: verify_certificate(value, _COMMITTEE),
        _certificate,
    ),
    _checked("protocol.blocks.verify_card", SignedCard, verify_card, _card),
    _checked(
        "protocol.access.verify_fetch",
        SignedFetchRequest,
        lambda value: verify_fetch(value, NETWORK),
        _fetch,
    ),
    _checked(
        "protocol.transactions.verify_enrolment",
        SignedEnrolment,
        lambda value: verify_enrolment(value, NETWORK),
        _enrolment,
    ),
    _checked(
        "protocol.statemap.verify_proof",
        Proof,
        lambda value: verify_proof(_MAP.root, _KEY, b"value", value),
        _proof,
    ),
    _checked(
        "protocol.proofs.verify_state",
        StateProof,
        lambda value: verify_state(encode(value), GENESIS, _ASKED, now_ms=HEADER.time_ms),
        lambda _dice: encode(proof_of(*Standing)),
    ),
    _checked("protocol.blobs.check_content", Content, check_content, partial(encoded, Content)),
]


def _transaction(raw: bytes) -> bytes:
    transaction = decode_transaction(raw)
    assert encode(transaction.body) == transaction.envelope.body
    return encode(transaction.envelope)


def _verified(raw: bytes) -> bytes:
    verified = verify_transaction(decode_transaction(raw), NETWORK)
    assert verified.raw in _SIGNED, f"a changed transaction verifies: {raw.hex()}"
    return verified.raw


_SIGNED: Final = [sign_transaction(body, signers, NETWORK) for body, signers in SIGNED]


# Doors for text, where more than one text may mean the same.


def _code(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    plain = "".join(text.split()).replace("-", "").upper()
    assert encode_code(decode_code(text)) == plain
    return raw


def _made_code(dice: random.Random) -> bytes:
    made = replace(
        Maker(dice).make(ReceiveCode),
        network=NETWORK,
        clinic=ISSUER.public,
        enrolments=(sign_enrolment(ENROLMENT, OWNER, NETWORK),),
    )
    return encode_code(made).encode()


def _invitation(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    plain = "".join(text.split()).replace("-", "").upper()
    assert encode_invitation(decode_invitation(text)) == plain
    return raw


def _made_invitation(dice: random.Random) -> bytes:
    made = replace(Maker(dice).make(Invitation), inviter=ISSUER.public)
    return encode_invitation(sign_invitation(made, ISSUER)).encode()


def _armour(raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    lines = [line.strip() for line in text.strip().splitlines()]
    assert wrap("CARD", unwrap("CARD", text)).splitlines() == lines
    return raw


def _request(raw: bytes) -> bytes:
    value = decode_request(raw)
    assert decode_request(encode_request(value)) == value
    return raw


def _reply(request: Any, raw: bytes) -> bytes:
    value = decode_reply(request, raw)
    assert decode_reply(request, encode_document(value)) == value
    return raw


def _made_reply(request: AnyRequest, _dice: random.Random) -> bytes:
    kind: Any = type(request)
    return encode_document(RESULTS[result_of(kind)])


TEXTS: Final = [
    Door("protocol.codes.decode_code", _code, _made_code, "protocol.codes.decode_code", (UserError,)),
    *(
        Door(f"protocol.giving.{name}", read, made, f"protocol.giving.{name}", (UserError,))
        for name, read, made in (
            ("decode_take", gifts.take, gifts.made_take),
            ("decode_gift", gifts.gift, gifts.made_gift),
        )
    ),
    Door(
        "protocol.invitations.decode_invitation",
        _invitation,
        _made_invitation,
        "protocol.invitations.decode_invitation",
        (UserError,),
    ),
    Door(
        "protocol.armour.unwrap",
        _armour,
        lambda dice: wrap("CARD", _card(dice)).encode(),
        "protocol.armour.unwrap",
    ),
]
JSON: Final = [
    Door(
        "protocol.control.decode_request",
        _request,
        lambda dice: encode_request(dice.choice(REQUESTS)),
        "protocol.control.frames.decode_request",
        (UserError,),
    ),
    *(
        Door(
            f"protocol.control.decode_reply: {type(request).__name__}",
            partial(_reply, type(request)),
            partial(_made_reply, request),
            "protocol.control.frames.decode_reply",
        )
        for request in REQUESTS
    ),
    *(Door(name, read, made, name) for name, read, made in parsed.DOORS),
]

DECODERS: Final = [
    *_reader(decode_block, Block),
    *_reader(decode_genesis, Genesis),
    *_reader(decode_grant_body, GrantBody, _LIMITS),
    *_reader(decode_entry, Entry),
    *_reader(audit.decode_audit_ask, audit.AuditAsk),
    *_reader(audit.decode_audit_reply, audit.AuditReply),
    *_reader(blob.decode_blob_question, blob.BlobQuestion),
    *_reader(blob.decode_blob_reply, blob.BlobReply),
    *_reader(blob.decode_chunk_frame, blob.ChunkFrame),
    *_reader(blocks.decode_question, blocks.BlocksQuestion),
    *_reader(blocks.decode_blocks_reply, blocks.BlocksReply),
    *_reader(blocks.decode_time_reply, blocks.TimeReply, _NONCE, nonce=_NONCE),
    *_reader(blocks.decode_sealed_reply, blocks.SealedReply, _REPLIES, sealed=(b"box", b"", b"\0" * 80)),
    *_reader(blocks.decode_final_block, blocks.FinalBlock),
    *_reader(consensus.decode_consensus, consensus.ConsensusMessage),
    *_reader(light.decode_light_question, light.LightQuestion),
    *_reader(light.decode_join_reply, light.JoinReply, approvals=1, needed=3),
    *_reader(light.decode_waiting_reply, light.WaitingReply, (b"",), waiting=()),
    *_reader(export.decode_section, export.Section),
    *_reader(members.decode_members, members.MembersMessage),
    *_reader(submit.decode_submit_request, submit.SubmitRequest),
    *_reader(submit.decode_submit_reply, submit.SubmitReply, _REPLIES, taken=(True, False, True)),
    *(
        Door(f"protocol.{name}", read, sample, f"protocol.{name}")
        for name, read, sample in (
            ("transactions.decode_transaction", _transaction, lambda dice: dice.choice(_SIGNED)),
            ("transactions.verify_transaction", _verified, lambda dice: dice.choice(_SIGNED)),
            ("evidence.decode_evidence", partial(_again, decode_evidence), _evidence),
            ("two_chains.decode_two_chains", partial(_again, decode_two_chains), made_proof),
            ("grants.open_grant", boxes.grant_box, boxes.made_grant_box),
            ("grants.open_owner_box", boxes.owner_box, boxes.made_owner_box),
            ("access_requests.open_request", boxes.request_box, boxes.made_request_box),
            ("access_requests.verify_request", boxes.request, boxes.made_request),
        )
    ),
]

FRAMED: Final = [Door(name, read, made, name) for name, read, made in studies.DOORS]
BINARY: Final = [*DECODERS, *CHECKED, *map(_typed, wire_types())]
ALL: Final = [*BINARY, *FRAMED, *TEXTS, *JSON]
