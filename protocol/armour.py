"""Text for small binary things that people pass around: files in armour, and codes.

A file in armour is base64 between a first and a last line that name its kind, with a checksum inside.
A code is one string for QR, terminal and link: `CM1`, then bech32's alphabet (BIP-173) in upper case,
which is QR alphanumeric and has no letter that looks like a digit. Its bytes are `kind ‖ payload ‖
checksum`; the 1 in the prefix is the version. Both checksums are truncated SHA-256: they find slips of
the hand and of the copying, all but one in four billion, and prove nothing about who made the text.
"""

import base64
import binascii
from enum import IntEnum
from typing import Final, Literal

from protocol import limits
from protocol.codec import digest
from protocol.errors import Code, Malformed, UserError

ArmourKind = Literal["CARD", "GENESIS", "EVIDENCE", "TWO CHAINS"]

_ARMOUR_CHECKSUM_BYTES: Final = 8
_LINE_CHARS: Final = 64
_COPY_AGAIN: Final = "copy the whole file again, from its BEGIN line to its END line"

CODE_PREFIX: Final = "CM1"
_CODE_CHECKSUM_BYTES: Final = 4
_ALPHABET: Final = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
# Five bits a character; room for the spaces and dashes that people and mail programs put in.
_CODE_CHARS_MAX: Final = 4 * limits.CODE_BYTES_MAX
_TYPO_HINT: Final = (
    "this looks like a typing or copying mistake: scan the QR code, or copy the whole code again"
)


class CodeKind(IntEnum):
    """What a code carries: its first byte."""

    RECEIVE = 1
    INVITATION = 2
    TAKE = 3
    GIFT = 4


# What is wrong with a text that should be a code of this kind is told under this code.
_CODES: Final = {
    CodeKind.RECEIVE: Code.RECEIVE_CODE,
    CodeKind.INVITATION: Code.INVITATION,
    CodeKind.TAKE: Code.RECEIVE_CODE,
    CodeKind.GIFT: Code.RECEIVE_CODE,
}
_NAMES: Final = {
    CodeKind.RECEIVE: "a receive code",
    CodeKind.INVITATION: "an invitation",
    CodeKind.TAKE: "what the receiver's chartmesh my take --name printed",
    CodeKind.GIFT: "what the giver's chartmesh my give printed",
}


def wrap(kind: ArmourKind, raw: bytes) -> str:
    """`raw` in armour: lines of at most 64 characters, newline at the end.

    Raises:
        Malformed: more than limits.ARMOUR_BYTES_MAX bytes.
    """
    if len(raw) > limits.ARMOUR_BYTES_MAX:
        raise Malformed(f"{len(raw)} bytes are too many for a {kind} file")
    text = base64.b64encode(raw + _armour_checksum(kind, raw)).decode("ascii")
    lines = (text[at : at + _LINE_CHARS] for at in range(0, len(text), _LINE_CHARS))
    return "\n".join((_mark("BEGIN", kind), *lines, _mark("END", kind), ""))


def unwrap(kind: ArmourKind, text: str) -> bytes:
    """The bytes that `wrap` put into `text`; only line ends and space around the lines may differ.

    Raises:
        Malformed: another kind, damaged, cut short, too long, or anything before or after it.
    """
    if len(text) > 2 * limits.ARMOUR_BYTES_MAX:
        raise Malformed(f"text of {len(text)} characters is too long for a {kind} file", _COPY_AGAIN)
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines or lines[0] != _mark("BEGIN", kind):
        raise Malformed(f"not a chartmesh {kind} file: its first line does not say so", _COPY_AGAIN)
    try:
        content = base64.b64decode("".join(lines[1:-1]).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Malformed(f"{kind} file has characters that do not belong there", _COPY_AGAIN) from error
    raw = content[:-_ARMOUR_CHECKSUM_BYTES]
    # One text for the same bytes: this compares the checksum, the last line and the line lengths too.
    if wrap(kind, raw).splitlines() != lines:
        raise Malformed(f"{kind} file is damaged or cut short", _COPY_AGAIN)
    return raw


def is_wrapped(kind: ArmourKind, text: str) -> bool:
    """Whether `text` says at its beginning that it is a file of this kind."""
    return text.lstrip().startswith(_mark("BEGIN", kind))


def wrap_code(kind: CodeKind, payload: bytes) -> str:
    """`payload` as a code: `CM1…` in one piece.

    Raises:
        Malformed: more than limits.CODE_BYTES_MAX bytes.
    """
    if len(payload) > limits.CODE_BYTES_MAX:
        raise Malformed(f"{len(payload)} bytes are too many for a code")
    content = bytes((kind,)) + payload
    content += _code_checksum(content)
    bits = len(content) * 8
    count = -(-bits // 5)
    number = int.from_bytes(content, "big") << (count * 5 - bits)
    return CODE_PREFIX + "".join(_ALPHABET[number >> 5 * at & 31] for at in reversed(range(count)))


def unwrap_code(kind: CodeKind, text: str) -> bytes:
    """The payload of the code in `text`. Case, spaces, line ends and dashes do not matter.

    Raises:
        UserError: the code of this kind (RECEIVE_CODE, INVITATION), with a hint: no code, another
            version or kind, or a slip in it.
    """
    try:
        found, payload = _read_code(text)
    except _Slip as slip:
        raise UserError(str(slip), _TYPO_HINT, code=_CODES[kind]) from slip
    if found != kind:
        raise UserError("this is a code for something else", f"ask for {_NAMES[kind]}", code=_CODES[kind])
    return payload


def is_code(text: str) -> bool:
    """Whether `text` begins like a code of any kind; the rest may be wrong."""
    return text.lstrip()[: len(CODE_PREFIX)].upper() == CODE_PREFIX


class _Slip(Exception):
    """What is wrong with the text of a code, in one sentence."""


def _read_code(text: str) -> tuple[int, bytes]:
    """The kind and payload in a code's text. Raises _Slip."""
    if len(text) > _CODE_CHARS_MAX:
        raise _Slip("this text is far too long for a code")
    code = "".join(text.split()).replace("-", "").upper()
    if not code.startswith(CODE_PREFIX):
        raise _Slip(f"this is not a code: it does not begin with {CODE_PREFIX}")
    content = _unpacked(code[len(CODE_PREFIX) :])
    payload, checksum = content[:-_CODE_CHECKSUM_BYTES], content[-_CODE_CHECKSUM_BYTES:]
    if not payload or checksum != _code_checksum(payload):
        raise _Slip("the code has a mistake in it")
    return payload[0], payload[1:]


def _unpacked(symbols: str) -> bytes:
    """The bytes of a code's characters, eight bits from five; spare bits must be zero."""
    number = 0
    for at, character in enumerate(symbols, len(CODE_PREFIX) + 1):
        value = _VALUES.get(character)
        if value is None:
            raise _Slip(f"character {at} of the code, {character!r}, is in no code")
        number = number << 5 | value
    spare = len(symbols) * 5 % 8
    if spare >= 5 or number & ((1 << spare) - 1):
        raise _Slip("the code has a mistake in it")
    return (number >> spare).to_bytes(len(symbols) * 5 // 8, "big")


def _mark(word: str, kind: str) -> str:
    return f"-----{word} CHARTMESH {kind}-----"


def _armour_checksum(kind: str, raw: bytes) -> bytes:
    return digest("armour", kind.encode("ascii") + b"\0" + raw)[:_ARMOUR_CHECKSUM_BYTES]


def _code_checksum(content: bytes) -> bytes:
    return digest("code", content)[:_CODE_CHECKSUM_BYTES]
