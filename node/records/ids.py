"""Full ids from the prefixes that people type: for local questions only, and never for a decision."""

from collections.abc import Iterator

from node.ports import Store
from node.store import layout
from protocol.codec import HASH_BYTES
from protocol.errors import Code, Refused, UserError
from protocol.state import LedgerState
from protocol.transactions import GrantId, TokenId


def find_token(store: Store, state: LedgerState, prefix: str) -> TokenId:
    """The token on the ledger whose id begins with `prefix`, in lower-case hex.

    Raises:
        Refused: there is none. UserError: AMBIGUOUS_ID, there are several.
    """
    names = map(TokenId, _ids_like(store, layout.TRANSACTION, prefix))
    return TokenId(_only_one([name for name in names if state.token(name) is not None], prefix))


def find_held_grant(store: Store, prefix: str) -> GrantId:
    """The grant given to this node whose id begins with `prefix`. Raises as `find_token` does."""
    return GrantId(_only_one(list(_ids_like(store, layout.HELD_GRANT, prefix)), prefix))


def find_issued(store: Store, prefix: str) -> TokenId:
    """The record that this node issued whose id begins with `prefix`. Raises as `find_token` does."""
    return TokenId(_only_one(list(_ids_like(store, layout.ISSUED, prefix)), prefix))


def find_held_or_asked(store: Store, prefix: str) -> bytes:
    """The grant given to this node, or the access request that it made, whose id begins with `prefix`.
    Raises as `find_token` does."""
    places = (layout.HELD_GRANT, layout.ASKED)
    return _only_one([name for place in places for name in _ids_like(store, place, prefix)], prefix)


def find_known_token(store: Store, prefix: str) -> TokenId:
    """The record whose id begins with `prefix` that this node issued or was let read. Raises as
    `find_token` does."""
    held = {name[:HASH_BYTES] for name in _ids_like(store, layout.HELD_GRANT_TOKEN, prefix)}
    return TokenId(_only_one(sorted(held.union(_ids_like(store, layout.ISSUED, prefix))), prefix))


def whole_id(text: str) -> bytes | None:
    """The id of `text` where that is all of one."""
    return bytes.fromhex(text) if len(text) == 2 * HASH_BYTES else None


def _ids_like(store: Store, place: bytes, prefix: str) -> Iterator[bytes]:
    """The ids under `place` that begin with `prefix`, which may end in half a byte."""
    whole = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
    for key, _ in store.iterate(place + whole):
        name = key[len(place) :]
        if name.hex().startswith(prefix):
            yield name


def _only_one(names: list[bytes], prefix: str) -> bytes:
    if not names:
        raise Refused
    if len(names) > 1:
        raise UserError(
            f"{len(names)} ids begin with {prefix}", "give more of its characters", code=Code.AMBIGUOUS_ID
        )
    return names[0]
