"""A record erased for good: what its owner signs.

Only whoever holds the owner key and the next key to which the token is committed can erase it: a thief of
the device has the first and not the second, which comes from the 24 words alone.
"""

from datetime import UTC, datetime

from protocol.errors import Code, UserError
from protocol.grants import RecordLabel
from protocol.keys import SigningKey
from protocol.transactions import Erase, TokenId, sign_transaction


def sign_erasure(
    token: TokenId, generation: int, *, owner: SigningKey, next_key: SigningKey, network: bytes
) -> bytes:
    """The Erase that ends `generation` of `token`, every grant with it, and every holder's ciphertext."""
    return sign_transaction(Erase(token, generation, next_key.public), (owner, next_key), network)


def check_retention(label: RecordLabel, now_ms: int) -> None:
    """That no duty forbids to erase a record of this label any more.

    The ledger does not know labels, so it is the owner's wallet that keeps to this, and not each clinic.

    Raises:
        UserError: RETENTION, with the day until which it is to be kept.
    """
    if now_ms < label.keep_until_ms:
        day = datetime.fromtimestamp(label.keep_until_ms / 1000, UTC).strftime("%Y-%m-%d")
        raise UserError(
            f"the clinic that issued this record has to keep it until {day} (UTC), so it cannot be erased",
            "stop sharing it with: chartmesh my stop; ask the clinic which law that is",
            code=Code.RETENTION,
        )
