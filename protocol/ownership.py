"""What the ledger says of a one-time owner key, shown to whoever holds a header and nothing else.

The state has an entry for every owner key there ever was, so a key that owns nothing is proven absent:
whoever answers can be of no help, and cannot lie. A key of any generation is found the same way, whether
a mint, a transfer or a rotation gave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol import limits
from protocol.blocks import Header
from protocol.codec import Wire, decode, digest
from protocol.errors import RemoteProtocolError
from protocol.keys import PublicKey
from protocol.roll import ProvenEntry
from protocol.state import (
    LedgerState,
    OwnerKeyState,
    TokenState,
    owner_key_entry_key,
    token_entry_key,
)
from protocol.statemap import verify_proof
from protocol.transactions import TokenId

ABSENT = b""


class Ownership(Wire, frozen=True):
    """The entry of an owner key, its `value` empty where it has none; and then that of its token."""

    key: ProvenEntry
    token: ProvenEntry | None


@dataclass(frozen=True, slots=True)
class KeyToken:
    """The token that a key was given, in `generation`, and what that token is now."""

    token: TokenId
    generation: int
    state: TokenState

    @property
    def is_owner(self) -> bool:
        """Whether the key still owns it: no later generation took it, and it is not erased."""
        return self.generation == self.state.generation and not self.state.erased


def prove_ownership(state: LedgerState, key: PublicKey) -> Ownership:
    """What `state` says of `key`."""
    held = state.owner_key(key)
    entry = _prove(state, owner_key_entry_key(key))
    return Ownership(entry, None if held is None else _prove(state, token_entry_key(held.token)))


def verify_ownership(header: Header, key: PublicKey, shown: Ownership) -> KeyToken | None:
    """What `key` was given, after the block of `header`, a final one; None where it never was anything's.

    Raises:
        RemoteProtocolError: an entry is not proven, or one is missing.
    """
    entry = _proven(header, owner_key_entry_key(key), shown.key)
    if entry is None:
        if shown.token is not None:
            raise RemoteProtocolError("a token of an owner key that is absent")
        return None
    held = decode(OwnerKeyState, entry, limit=limits.STATE_ENTRY_BYTES_MAX)
    if shown.token is None:
        raise RemoteProtocolError("an owner key without its token")
    token = _proven(header, token_entry_key(held.token), shown.token)
    if token is None:
        raise RemoteProtocolError("an owner key of a token that is absent")
    state = decode(TokenState, token, limit=limits.STATE_ENTRY_BYTES_MAX)
    return KeyToken(held.token, held.generation, state)


def clinics_to_ask(
    key: PublicKey, clinics: Sequence[PublicKey], *, first: PublicKey | None = None
) -> list[PublicKey]:
    """The order in which to ask `clinics` about `key`, after `first`, who knows it already.

    The order is another one for each key, so that each clinic is asked about its share of a patient's
    keys and none about all: asking tells which keys are one person's.
    """
    ordered = sorted(clinics, key=lambda clinic: digest("lookup", clinic, key))
    return sorted(ordered, key=lambda clinic: clinic != first)


def _prove(state: LedgerState, key: bytes) -> ProvenEntry:
    value = state.entries.get(key)
    return ProvenEntry(ABSENT if value is None else value, state.entries.prove(key))


def _proven(header: Header, key: bytes, entry: ProvenEntry) -> bytes | None:
    value = None if entry.value == ABSENT else entry.value
    if not verify_proof(header.state_root, key, value, entry.proof):
        raise RemoteProtocolError("an entry of an owner key that is not in the state")
    return value
