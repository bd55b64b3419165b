"""A patient's records with all that proves them, in one file that needs no network to be verified.

The file is MAGIC and then frames, each a length of four bytes, big-endian, and an encoded section: the
head, each record with the pieces of its content, the members, each clinic's audit log of the records, and
the end. In the end every record's owner key signs the hash of all before, so that not a byte can be other
than its owner left it, and no section missing. The file holds the records in the clear.
"""

import hashlib
from typing import Final, NewType

from protocol import limits
from protocol.audit import AuditRecord
from protocol.blocks import NetworkId
from protocol.codec import Wire, decode, encode
from protocol.errors import Malformed
from protocol.excerpt import Excerpt
from protocol.grants import RecordLabel
from protocol.keys import PublicKey, SigningKey, verify
from protocol.messages.audit import SignedHead
from protocol.proofs import Route
from protocol.roll import Roll
from protocol.transactions import TokenId

MAGIC: Final = b"chartmesh export 1\n"
LENGTH_BYTES: Final = 4
_END: Final = "export"

ExportHash = NewType("ExportHash", bytes)


class ExportHead(Wire, frozen=True, tag=1):
    """What the file is of. `made_ms` is the patient's clock; nothing rests on it."""

    network: NetworkId
    made_ms: int
    records: int


class ExportMembers(Wire, frozen=True, tag=2):
    """Who is a member after the last header of `route`, which leads there from the genesis."""

    route: Route
    roll: Roll


class ExportRecord(Wire, frozen=True, tag=3):
    """A record. `proofs` are encoded StateProofs from the genesis: the first of the token and then of the
    grants of `bodies`, the others of as many more, `limits.CLAIMS_MAX` at a time.

    `bodies` are encoded GrantBodies. `label` is what the record is called in the wallet; nothing proves it.
    Without `has_content` no clinic gave the content, and no pieces follow.
    """

    token: TokenId
    proofs: tuple[bytes, ...]
    bodies: tuple[bytes, ...]
    content_key: bytes
    label: RecordLabel
    has_content: bool


class ExportPiece(Wire, frozen=True, tag=4):
    """The next bytes of the record before."""

    content: bytes


class ExportLog(Wire, frozen=True, tag=5):
    """What `member`'s audit log says of `tokens`, as in an AuditReply."""

    member: PublicKey
    tokens: tuple[TokenId, ...]
    entries: tuple[AuditRecord, ...]
    head: SignedHead
    shown: Excerpt | None
    posted: Excerpt | None


class ExportEnd(Wire, frozen=True, tag=6):
    """`signatures[i]` is that of the owner of the i-th record over the hash of all before this section."""

    signatures: tuple[bytes, ...]


Section = ExportHead | ExportMembers | ExportRecord | ExportPiece | ExportLog | ExportEnd


def decode_section(raw: bytes) -> Section:
    """Raises Malformed."""
    section: Section = decode(Section, raw, limit=limits.EXPORT_SECTION_BYTES_MAX)  # type: ignore[arg-type]
    if isinstance(section, ExportPiece) and not 1 <= len(section.content) <= limits.EXPORT_PIECE_BYTES:
        raise Malformed("an export's piece is empty or too long")
    return section


class ExportWriter:
    """The bytes of a file, section by section, and the hash that its end signs."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(MAGIC)

    def framed(self, section: Section) -> bytes:
        """A section as it stands in the file. Raises Malformed where it is over its limit."""
        raw = encode(section)
        if len(raw) > limits.EXPORT_SECTION_BYTES_MAX:
            raise Malformed("an export's section is over its limit")
        return self.count(raw)

    def count(self, raw: bytes) -> bytes:
        """The frame of an encoded section, which counts to the hash from now on."""
        frame = len(raw).to_bytes(LENGTH_BYTES, "big") + raw
        self._hash.update(frame)
        return frame

    @property
    def hash(self) -> ExportHash:
        return ExportHash(self._hash.digest())


def sign_export(hashed: ExportHash, owner: SigningKey, network: bytes) -> bytes:
    """What an owner says of the file of this hash: that it is as she made it."""
    return owner.sign(_END, network, hashed)


def is_signed(hashed: ExportHash, owner: PublicKey, signature: bytes, network: bytes) -> bool:
    """Whether the holder of `owner` said so."""
    return verify(owner, _END, network, hashed, signature)
