"""The proof of a second chain that a light client keeps, and for which it believes neither any more."""

from node.chain.halt import keep_two_chains, load_two_chains
from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.codec import decode, encode
from protocol.past_end import Fork, PastEnd


def load_fork(store: Store) -> Fork | None:
    raw = store.get(layout.past_end())
    return load_two_chains(store) if raw is None else decode(PastEnd, raw, limit=limits.ARMOUR_BYTES_MAX)


def keep_fork(store: Store, found: Fork) -> None:
    """Durable when this returns."""
    if isinstance(found, PastEnd):
        store.write([(layout.past_end(), encode(found))], sync=True)
    else:
        keep_two_chains(store, found)
