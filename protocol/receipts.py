"""What an audit record is worth by itself: the reader's own signed request, which the record keeps."""

from protocol import limits
from protocol.access import SignedFetchRequest, verify_fetch
from protocol.audit import AuditRecord
from protocol.blocks import NetworkId
from protocol.codec import decode
from protocol.errors import ProtocolError
from protocol.keys import PublicKey


def has_receipt(entry: AuditRecord, server: PublicKey, network: NetworkId) -> bool:
    """Whether the request in `entry` is signed by its reader, was made to `server`, and says what the entry
    says of it."""
    try:
        signed = decode(SignedFetchRequest, entry.request, limit=limits.CONTROL_FRAME_BYTES_MAX)
        fetch = verify_fetch(signed, network)
    except ProtocolError:
        return False
    asked = fetch.request
    return (
        asked.server,
        asked.token,
        asked.signer,
        asked.user,
        asked.purpose,
        fetch.grant_id or b"",
    ) == (server, entry.token, entry.reader, entry.user, entry.purpose, entry.grant)
