"""Grant bodies and the boxes in which grants and content keys travel."""

import pytest
from msgspec.structs import replace

from protocol import limits
from protocol.codec import decode, digest, encode
from protocol.errors import Malformed
from protocol.grants import (
    GrantBody,
    GrantBoxes,
    RecordLabel,
    SealedGrant,
    SealedKey,
    check_grant_body,
    check_label,
    decode_grant_body,
    grant_id,
    open_grant,
    open_key,
    open_owner_box,
    owner_box,
    seal_grant,
    seal_key,
)
from protocol.keys import OpeningKey, seal
from protocol.limits import DAY_MS, NetworkLimits
from protocol.transactions import TokenId
from tests.ledger_world import opening, signing

NETWORK = NetworkLimits()
START_MS = 1_700_000_000_000
BODY = GrantBody(
    token=TokenId(digest("test", b"token")),
    grantee_key=signing("grantee").public,
    actions=("read",),
    purposes=("COC", "TREAT"),
    not_before_ms=START_MS,
    not_after_ms=START_MS + 30 * DAY_MS,
    max_stale_s=60,
    scope=("record",),
    obligations=(),
    break_glass=False,
    salt=bytes(16),
)
LABEL = RecordLabel("Discharge letter", "fhir", "letter.json", 1234, START_MS, b"")
CONTENT_KEY = bytes(range(32))
REFERENCE = b"known here as 16"
HELD = SealedKey(CONTENT_KEY, LABEL, REFERENCE)
GRANTEE, OWNER = opening("grantee"), opening("owner")
ENTROPY = digest("test", b"entropy")


def seal_body(body: GrantBody = BODY, label: RecordLabel = LABEL) -> tuple[bytes, bytes]:
    return seal_grant(
        body,
        CONTENT_KEY,
        label,
        REFERENCE,
        to=GRANTEE.public,
        owner=OWNER.public,
        network_limits=NETWORK,
        entropy=ENTROPY,
    )


def test_the_grantee_opens_what_was_sealed() -> None:
    name, sealed = seal_body()
    opened = open_grant(GRANTEE, sealed, NETWORK)
    assert opened is not None
    assert opened.grant_id == name == grant_id(encode(BODY))
    assert opened.body == BODY
    assert (opened.sealed.content_key, opened.sealed.label) == (CONTENT_KEY, LABEL)
    assert opened.sealed.reference == REFERENCE


def test_the_owner_keeps_the_body_and_gets_nothing_else() -> None:
    name, sealed = seal_body()
    raw = open_owner_box(OWNER, owner_box(sealed), NETWORK)
    assert raw == encode(BODY)
    assert grant_id(raw) == name
    assert open_owner_box(GRANTEE, owner_box(sealed), NETWORK) is None
    assert open_grant(OWNER, sealed, NETWORK) is None
    assert owner_box(sealed[:-1]) == owner_box(b"") == b""


def test_the_size_of_the_owners_box_tells_little() -> None:
    longer = replace(BODY, purposes=("COC", "HPAYMT", "TREAT"))
    sizes = {len(owner_box(seal_body(body)[1])) for body in (BODY, longer)}
    assert sizes == {256}


def test_nobody_else_opens_it() -> None:
    _, sealed = seal_body()
    assert open_grant(opening("another"), sealed, NETWORK) is None
    assert open_grant(GRANTEE, sealed[:-1], NETWORK) is None
    assert open_grant(GRANTEE, b"", NETWORK) is None


def test_every_changed_byte_of_a_box_is_noticed() -> None:
    _, sealed = seal_body()
    for at in range(0, len(sealed), 7):
        spoilt = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        opened = open_grant(GRANTEE, spoilt, NETWORK), open_owner_box(OWNER, owner_box(spoilt), NETWORK)
        assert None in opened


def test_every_field_of_the_body_changes_the_grant_id() -> None:
    others = [
        replace(BODY, token=TokenId(bytes(32))),
        replace(BODY, grantee_key=signing("other").public),
        replace(BODY, actions=("read", "write")),
        replace(BODY, purposes=("TREAT",)),
        replace(BODY, not_before_ms=BODY.not_before_ms + 1),
        replace(BODY, not_after_ms=BODY.not_after_ms + 1),
        replace(BODY, max_stale_s=61),
        replace(BODY, scope=("header",)),
        replace(BODY, obligations=("NORDSCLCD",)),
        replace(BODY, break_glass=True),
        replace(BODY, salt=b"\x01" * 16),
    ]
    assert len(others) == len(GrantBody.__struct_fields__)
    assert len({grant_id(encode(body)) for body in [BODY, *others]}) == len(others) + 1


RIGHT_BODIES = [
    BODY,
    replace(BODY, purposes=("BTG", "TREAT"), break_glass=True),
    replace(BODY, not_after_ms=START_MS + 400 * DAY_MS),
    replace(BODY, max_stale_s=1),
    replace(BODY, max_stale_s=24 * 3600),
    replace(BODY, obligations=("DELAU", "NORDSCLCD")),
    replace(BODY, actions=("list", "read")),
]

WRONG_BODIES = [
    ("token", replace(BODY, token=TokenId(bytes(31)))),
    ("grantee_key", replace(BODY, grantee_key=GRANTEE.public)),
    ("actions", replace(BODY, actions=())),
    ("actions", replace(BODY, actions=("read", "list"))),
    ("actions", replace(BODY, actions=("read", "read"))),
    ("actions", replace(BODY, actions=("",))),
    ("actions", replace(BODY, actions=("r" * 33,))),
    ("actions", replace(BODY, actions=("a", "b", "c", "d", "e"))),
    ("purposes", replace(BODY, purposes=())),
    ("purposes", replace(BODY, purposes=("PurposeOfUse",))),
    ("purposes", replace(BODY, purposes=("TREAT", "COC"))),
    ("scope", replace(BODY, scope=())),
    ("scope", replace(BODY, scope=("\u202e",))),
    ("scope", replace(BODY, scope=tuple(f"{number:02}" for number in range(17)))),
    ("obligations", replace(BODY, obligations=("b", "a"))),
    ("break_glass", replace(BODY, break_glass=True)),
    ("break_glass", replace(BODY, purposes=("BTG",))),
    ("not_after_ms", replace(BODY, not_before_ms=-1)),
    ("not_after_ms", replace(BODY, not_after_ms=START_MS)),
    ("not_after_ms", replace(BODY, not_after_ms=START_MS + 400 * DAY_MS + 1)),
    ("max_stale_s", replace(BODY, max_stale_s=0)),
    ("max_stale_s", replace(BODY, max_stale_s=24 * 3600 + 1)),
    ("salt", replace(BODY, salt=bytes(15))),
]


@pytest.mark.parametrize("body", RIGHT_BODIES)
def test_a_body_within_its_limits_is_taken(body: GrantBody) -> None:
    assert decode_grant_body(encode(body), NETWORK) == body


@pytest.mark.parametrize(("name", "body"), WRONG_BODIES)
def test_a_body_out_of_its_limits_is_neither_sealed_nor_decoded_nor_opened(
    name: str, body: GrantBody
) -> None:
    with pytest.raises(Malformed, match=name):
        check_grant_body(body, NETWORK)
    with pytest.raises(Malformed, match=name):
        decode_grant_body(encode(body), NETWORK)
    with pytest.raises(Malformed, match=name):
        seal_body(body)
    sealed = boxed(encode(SealedGrant(encode(body), CONTENT_KEY, LABEL, REFERENCE)), unit=512)
    assert open_grant(GRANTEE, encode(GrantBoxes(sealed, b"")), NETWORK) is None
    assert open_owner_box(GRANTEE, boxed(encode(body)), NETWORK) is None


def test_the_longest_life_is_the_networks() -> None:
    month = NetworkLimits(grant_life_max_ms=30 * DAY_MS)
    check_grant_body(BODY, month)
    with pytest.raises(Malformed, match="not_after_ms"):
        check_grant_body(replace(BODY, not_after_ms=BODY.not_after_ms + 1), month)


def test_the_largest_body_fits_its_limit() -> None:
    def words(count: int) -> tuple[str, ...]:
        return tuple(f"{number:032}" for number in range(count))

    body = replace(
        BODY,
        actions=words(limits.ACTIONS_MAX),
        scope=words(limits.SCOPE_ITEMS_MAX),
        obligations=words(limits.OBLIGATIONS_MAX),
    )
    assert decode_grant_body(encode(body), NETWORK) == body
    wide = "\U00020000"  # four bytes in UTF-8, the most of any character
    label = replace(LABEL, title=wide * limits.TITLE_CHARS_MAX, file_name=wide * 255)
    _, sealed = seal_body(body, label)
    assert len(sealed) <= limits.SEALED_BYTES_MAX
    assert open_grant(GRANTEE, sealed, NETWORK) is not None


@pytest.mark.parametrize(
    "label",
    [
        replace(LABEL, title="t" * 201),
        replace(LABEL, title="line\nbreak"),
        replace(LABEL, title="\u202etxt"),
        replace(LABEL, type="x" * 33),
        replace(LABEL, file_name="../etc/passwd"),
        replace(LABEL, file_name="a\\b"),
        replace(LABEL, file_name=".."),
        replace(LABEL, file_name="."),
        replace(LABEL, file_name="nul\0"),
        replace(LABEL, file_name="n" * 256),
        replace(LABEL, size=-1),
        replace(LABEL, time_ms=-1),
        replace(LABEL, keep_until_ms=-1),
        replace(LABEL, keep_until_ms=LABEL.time_ms),
        replace(LABEL, keep_until_ms=LABEL.time_ms + limits.RETENTION_MS_MAX + 1),
    ],
)
def test_a_label_that_is_no_plain_name_is_neither_sealed_nor_opened(label: RecordLabel) -> None:
    with pytest.raises(Malformed):
        check_label(label)
    with pytest.raises(Malformed):
        seal_body(label=label)
    with pytest.raises(Malformed):
        seal_key(replace(HELD, label=label), to=GRANTEE.public, entropy=ENTROPY)
    sealed = boxed(encode(SealedGrant(encode(BODY), CONTENT_KEY, label, REFERENCE)), unit=512)
    assert open_grant(GRANTEE, encode(GrantBoxes(sealed, b"")), NETWORK) is None
    assert open_key(GRANTEE, boxed(encode(replace(HELD, label=label)))) is None


def boxed(raw: bytes, padding: bytes | None = None, *, unit: int = 256) -> bytes:
    """A box with any contents, as a hostile sender makes it."""
    if padding is None:
        padding = b"\x80" + bytes(-(len(raw) + 1 + 48) % unit)
    return seal(GRANTEE.public, raw + padding, entropy=ENTROPY)


def test_a_box_is_opened_only_with_the_one_right_padding() -> None:
    raw = encode(HELD)
    room = -(len(raw) + 1 + 48) % 256
    assert open_key(GRANTEE, boxed(raw)) == HELD
    for padding in (b"", b"\x80", b"\x80" + bytes(room + 256), bytes(room + 1), b"\x80" + b"\x01" * room):
        assert open_key(GRANTEE, boxed(raw, padding)) is None
    assert open_key(GRANTEE, boxed(b"")) is None
    assert open_key(GRANTEE, boxed(b"not a message")) is None


def test_a_box_of_one_kind_is_not_opened_as_the_other() -> None:
    _, sealed = seal_body()
    assert open_key(GRANTEE, decode(GrantBoxes, sealed, limit=limits.SEALED_BYTES_MAX).grantee) is None
    assert open_key(OWNER, owner_box(sealed)) is None
    key = seal_key(HELD, to=GRANTEE.public, entropy=ENTROPY)
    assert open_grant(GRANTEE, encode(GrantBoxes(key, key)), NETWORK) is None
    assert open_owner_box(GRANTEE, key, NETWORK) is None


def test_the_owner_opens_her_key() -> None:
    owner: OpeningKey = opening("owner")
    sealed = seal_key(HELD, to=owner.public, entropy=ENTROPY)
    assert open_key(owner, sealed) == HELD
    assert open_key(GRANTEE, sealed) is None


def test_a_content_key_of_another_length_is_neither_sealed_nor_opened() -> None:
    for key in (b"", bytes(31), bytes(33)):
        with pytest.raises(Malformed, match="content_key"):
            seal_key(replace(HELD, content_key=key), to=GRANTEE.public, entropy=ENTROPY)
        assert open_key(GRANTEE, boxed(encode(replace(HELD, content_key=key)))) is None


@pytest.mark.parametrize("reference", [b"", bytes(15), bytes(17)])
def test_a_reference_of_another_length_is_neither_sealed_nor_opened(reference: bytes) -> None:
    with pytest.raises(Malformed, match="reference"):
        seal_key(replace(HELD, reference=reference), to=GRANTEE.public, entropy=ENTROPY)
    assert open_key(GRANTEE, boxed(encode(replace(HELD, reference=reference)))) is None
    sealed = boxed(encode(SealedGrant(encode(BODY), CONTENT_KEY, LABEL, reference)), unit=512)
    assert open_grant(GRANTEE, encode(GrantBoxes(sealed, b"")), NETWORK) is None


def test_the_size_of_a_box_tells_neither_title_nor_purposes() -> None:
    labels = [LABEL, replace(LABEL, title="x"), replace(LABEL, title="Radiology report, left knee")]
    bodies = [BODY, replace(BODY, purposes=("TREAT",))]
    sealed = [seal_body(body, label)[1] for body in bodies for label in labels]
    made = [decode(GrantBoxes, one, limit=limits.SEALED_BYTES_MAX) for one in sealed]
    assert {(len(one.grantee), len(one.owner)) for one in made} == {(512, 256)}
    keys = [seal_key(replace(HELD, label=label), to=GRANTEE.public, entropy=ENTROPY) for label in labels]
    assert {len(key) for key in keys} == {256}
