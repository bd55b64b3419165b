"""Vectors of chunks, grants and receive codes."""

from collections.abc import Iterator

from msgspec.structs import replace

from protocol import limits, merkle
from protocol.armour import CodeKind, wrap_code
from protocol.blobs import PIECE_BYTES, Sealer
from protocol.blocks import BlockHash
from protocol.codec import digest, encode
from protocol.codes import ReceiveCode, encode_code
from protocol.grants import GrantBody, grant_id
from protocol.keys import OpeningKey, SigningKey
from protocol.messages.blob import ChunkFrame
from protocol.transactions import Content, Enrolment, SignedEnrolment, TokenId, sign_enrolment
from tests.ledger_world import CLINICS, NETWORK
from tests.vectors.cases import Case

KEY, SALT = b"k" * 32, b"s" * 32
START_MS = 1_700_000_000_000


def chunks() -> Iterator[Case]:
    plaintext = bytes(range(256)) * 4
    content, sealed = _sealed(plaintext)
    frame = ChunkFrame(0, (), sealed[0])
    yield _chunk("one", "", content, KEY, frame, plaintext)
    tiny, boxes = _sealed(b"x")
    yield _chunk("one-byte", "", tiny, KEY, ChunkFrame(0, (), boxes[0]), b"x")
    for name, value in (("suite", 2), ("chunk", 1024), ("length", 1025), ("length", 0), ("chunks", 2)):
        wrong = f"the content says another {name}"
        yield _chunk(f"{name}-{value}", wrong, replace(content, **{name: value}), KEY, frame)
    for name in ("root", "salt", "key_commitment"):
        spoiled = replace(content, **{name: digest("other")})
        yield _chunk(f"other-{name}", f"the content says another {name}", spoiled, KEY, frame)
    flipped = replace(frame, ciphertext=bytes((sealed[0][0] ^ 1,)) + sealed[0][1:])
    yield _chunk("flipped", "a bit is changed", content, KEY, flipped)
    root = merkle.root([flipped.ciphertext])
    yield _chunk(
        "flipped-root-too", "a bit is changed, and the root", replace(content, root=root), KEY, flipped
    )
    yield _chunk("cut", "a byte is missing", content, KEY, replace(frame, ciphertext=sealed[0][:-1]))
    yield _chunk("other-key", "another content key", content, b"K" * 32, frame)
    yield _chunk("index", "no such chunk", content, KEY, replace(frame, index=1))
    yield _chunk("path", "a path too long", content, KEY, replace(frame, path=(bytes(32),)))
    yield _chunk("path-short-hash", "a path of 31 bytes", content, KEY, replace(frame, path=(bytes(31),)))


def _sealed(plaintext: bytes) -> tuple[Content, list[bytes]]:
    assert len(plaintext) < PIECE_BYTES
    sealer = Sealer(KEY, SALT, len(plaintext))
    sealed = list(sealer.seal(plaintext))
    return sealer.finish(), sealed


def _chunk(
    name: str, wrong: str, content: Content, key: bytes, frame: ChunkFrame, gives: bytes = b""
) -> Case:
    given = {"content": encode(content).hex(), "key": key.hex(), "raw": encode(frame).hex()}
    return Case("chunk", name, wrong, given, gives.hex())


def grants() -> Iterator[Case]:
    body = GrantBody(
        token=TokenId(b"t" * 32),
        grantee_key=CLINICS[1].public,
        actions=("read",),
        purposes=("HRESCH", "TREAT"),
        not_before_ms=START_MS,
        not_after_ms=START_MS + limits.DAY_MS,
        max_stale_s=60,
        scope=("record",),
        obligations=("delete-after", "no-copy"),
        break_glass=False,
        salt=b"s" * 16,
    )
    yield Case("grant", "two-purposes", "", {"raw": encode(body).hex()}, grant_id(encode(body)).hex())
    glass = replace(body, purposes=("BTG",), break_glass=True, obligations=())
    yield Case("grant", "break-glass", "", {"raw": encode(glass).hex()}, grant_id(encode(glass)).hex())
    for what, wrong, changed in (
        ("no-purpose", "no purpose", replace(body, purposes=())),
        ("purposes-falling", "purposes in falling order", replace(body, purposes=("TREAT", "HRESCH"))),
        ("purpose-twice", "a purpose twice", replace(body, purposes=("TREAT", "TREAT"))),
        ("no-action", "no action", replace(body, actions=())),
        ("actions-many", "five actions", replace(body, actions=("a", "b", "c", "d", "e"))),
        ("no-scope", "no scope", replace(body, scope=())),
        ("scope-empty-word", "an empty word", replace(body, scope=("",))),
        ("word-long", "a word of 33 characters", replace(body, scope=("x" * 33,))),
        ("word-not-ascii", "a word with an umlaut", replace(body, obligations=("löschen",))),
        ("glass-without-purpose", "break glass, and no purpose BTG", replace(body, break_glass=True)),
        ("purpose-without-glass", "BTG, and not break glass", replace(glass, break_glass=False)),
        ("ends-before", "it ends before it begins", replace(body, not_after_ms=START_MS - 1)),
        ("no-time", "it ends when it begins", replace(body, not_after_ms=START_MS)),
        (
            "too-long",
            "it lasts longer than any may",
            replace(body, not_after_ms=START_MS + 401 * limits.DAY_MS),
        ),
        ("stale-0", "no staleness allowed", replace(body, max_stale_s=0)),
        ("stale-week", "a week of staleness", replace(body, max_stale_s=7 * 86_400)),
        ("salt", "a salt of 15 bytes", replace(body, salt=b"s" * 15)),
        ("token", "a token of 31 bytes", replace(body, token=TokenId(b"t" * 31))),
        ("grantee", "a key that seals", replace(body, grantee_key=b"\x02" + body.grantee_key[1:])),
    ):
        yield Case("grant", what, wrong, {"raw": encode(changed).hex()})
    yield Case("grant", "trailing", "a byte after it", {"raw": (encode(body) + b"\0").hex()})


def codes() -> Iterator[Case]:
    one, two = _enrolment(1), _enrolment(2)
    clinic = CLINICS[0].public
    code = ReceiveCode(
        NETWORK, clinic, "Klinik Süd", 7, BlockHash(b"c" * 32), (one[0], two[0]), b"known here as 16"
    )
    text = encode_code(code)
    keys = (one[1] + two[1]).hex()
    yield _code("two-records", "", text, keys)
    yield _code("lower-case", "", text.lower(), keys)
    yield _code("with-spaces", "", " ".join(text[at : at + 5] for at in range(0, len(text), 5)), keys)
    yield _code("cut", "the last character is missing", text[:-1])
    yield _code("more", "a character more", text + "Q")
    swapped = text[:40] + text[41] + text[40] + text[42:]
    yield _code("swapped", "two characters are swapped", swapped)
    yield _code("letter", "a letter that is in no code", text[:20] + "B" + text[21:])
    yield _code("prefix", "another prefix", "CM2" + text[3:])
    yield _code("kind", "a code of another kind", wrap_code(CodeKind.INVITATION, encode(code)))
    elsewhere = _enrolment(1, network=b"m" * 32)[0]
    other_clinic = _enrolment(1, issuer=CLINICS[1])[0]
    forged = replace(one[0], signature=two[0].signature)
    for what, wrong, changed in (
        ("no-enrolments", "it carries nothing", replace(code, enrolments=())),
        ("enrolment-twice", "an enrolment twice", replace(code, enrolments=(one[0], one[0]))),
        ("enrolment-forged", "an enrolment that its key did not sign", replace(code, enrolments=(forged,))),
        ("enrolment-elsewhere", "an enrolment for another network", replace(code, enrolments=(elsewhere,))),
        (
            "enrolment-other-clinic",
            "an enrolment for another clinic",
            replace(code, enrolments=(other_clinic,)),
        ),
        ("name-empty", "a clinic without a name", replace(code, clinic_name="")),
        ("reference", "a reference of 15 bytes", replace(code, reference=bytes(15))),
        ("height", "a negative height", replace(code, checkpoint_height=-1)),
        ("hash", "a checkpoint of 31 bytes", replace(code, checkpoint_hash=BlockHash(bytes(31)))),
    ):
        yield _code(what, wrong, wrap_code(CodeKind.RECEIVE, encode(changed)))


def _enrolment(
    number: int, issuer: SigningKey = CLINICS[0], network: bytes = NETWORK
) -> tuple[SignedEnrolment, bytes]:
    which = bytes((number,))
    owner, opening = SigningKey(digest("vector-owner", which)), OpeningKey(digest("vector-enc", which))
    next_hash = digest("vector-next", which)
    terms = Enrolment(issuer.public, owner.public, next_hash, opening.public, START_MS)
    return sign_enrolment(terms, owner, network), owner.public


def _code(name: str, wrong: str, text: str, gives: str = "") -> Case:
    return Case("code", name, wrong, {"text": text}, gives)
