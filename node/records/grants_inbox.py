"""Grants found on the ledger: those given to this clinic, and how many each token has.

Every final block is searched; only a trial opening shows which sealed boxes are for us. What is kept is
the body, which says what was allowed; the content key and the label stay in their box, which the ledger
deletes when the grant ends, and are opened each time they are needed.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import trio

from node.chain.ledger import FinalizedBlock, Ledger
from node.ports import Offload, Put, Store, TaskStatus
from node.store import layout
from node.store.waiting import once_there_is_room
from protocol import limits
from protocol.codec import Wire, decode, encode
from protocol.grants import GrantBody, SealedGrant, decode_grant_body, open_grant
from protocol.keys import OpeningKey, PublicKey
from protocol.proofs import ABOUT_TOKEN
from protocol.sealed import Bearer
from protocol.state import is_live
from protocol.transactions import Grant, GrantId, TokenId, decode_transaction, sealed_hash

SAVE_BLOCKS = 256
SEARCHED_S = 5.0
_ENTRY_BYTES_MAX = limits.GRANT_BODY_BYTES_MAX + limits.KIB
_HEIGHT_BYTES = 8

Found = list[tuple[Grant, bytes]]
"""The grants of one block, each with its sealed box, empty where that was deleted since."""


class HeldEntry(Wire, frozen=True):
    """A grant given to this clinic, as stored."""

    token: TokenId
    body: bytes
    sealed_hash: bytes


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant given to this clinic. `raw_body` is what a holder is shown."""

    grant_id: GrantId
    token: TokenId
    body: GrantBody
    raw_body: bytes
    sealed_hash: bytes


class GrantsInbox:
    """`opening_key` opens what is sealed to this clinic, whose identity key is `identity`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        offload: Offload,
        identity: PublicKey,
        opening_key: OpeningKey,
    ) -> None:
        self._ledger, self._store, self._offload = ledger, store, offload
        self._identity, self._opening_key = identity, opening_key
        self._recent: dict[int, Found] = {}
        self._searched = trio.Event()
        self.height = 0
        ledger.observe(self._observe)
        ledger.observe_filled(self._late)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Searches what became final since the last time, then each block as it does."""
        self.height = saved = layout.read_height(self._store.get(layout.grants_height()) or b"")
        task_status.started()
        while True:
            while self.height < self._ledger.height:
                puts = await self._search(self.height + 1)
                self.height += 1
                if puts or self.height - saved >= SAVE_BLOCKS:
                    saved = self.height
                    puts.append((layout.grants_height(), saved.to_bytes(_HEIGHT_BYTES, "big")))
                    await once_there_is_room(self._offload, partial(self._store.write, puts))
            self._searched.set()
            self._searched = trio.Event()
            await self._ledger.wait_advanced()

    async def wait_searched(self) -> None:
        """Returns once all that is final now was searched."""
        height = self._ledger.height
        while self.height < height:
            await self._searched.wait()

    # Reading.

    def held(self) -> Iterator[HeldGrant]:
        """All grants ever given to this clinic, in no order of use."""
        for key, raw in self._store.iterate(layout.HELD_GRANT):
            yield self._decode(GrantId(key[len(layout.HELD_GRANT) :]), raw)

    def held_for(self, token: TokenId) -> list[HeldGrant]:
        """The grants of one token given to this clinic."""
        start = len(layout.held_grant_token(token))
        names = [key[start:] for key, _ in self._store.iterate(layout.held_grant_token(token))]
        return [self.get(GrantId(name)) for name in names]

    def get(self, grant_id: GrantId) -> HeldGrant:
        raw = self._store.get(layout.held_grant(grant_id))
        assert raw is not None, "asked for by a name that the index gave"
        return self._decode(grant_id, raw)

    def is_live(self, grant: HeldGrant) -> bool:
        """Whether the ledger still counts it, whatever its dates say."""
        return self._is_live(grant.token, grant.grant_id)

    def of_patient(self, references: Container[bytes]) -> list[tuple[HeldGrant, SealedGrant]]:
        """The grants of records whose patient is known here by one of `references`, those that ended
        included as long as their box is kept."""
        opened = ((grant, self.open(grant)) for grant in self.held())
        return [(grant, box) for grant, box in opened if box is not None and box.reference in references]

    def open(self, grant: HeldGrant) -> SealedGrant | None:
        """The content key and the label; None where the box was deleted because the grant ended."""
        sealed = self._ledger.sealed(grant.token, grant.sealed_hash)
        opened = (
            None if sealed is None else open_grant(self._opening_key, sealed, self._ledger.state.limits)
        )
        return None if opened is None else opened.sealed

    async def registered(self, token: TokenId, after: GrantId, count: int) -> list[GrantId]:
        """The ids of at most `count` grants of a token, whoever holds them: those after `after`, rising.

        Of the newest blocks some may be missing where this clinic is far behind with its search.
        """
        with trio.move_on_after(SEARCHED_S):
            await self.wait_searched()
        prefix = layout.token_grant(token)
        entries = self._store.iterate(prefix, start=layout.token_grant(token, after))
        names = (GrantId(key[len(prefix) :]) for key, _ in entries)
        return list(islice((name for name in names if name != after), count))

    def live_count(self, token: TokenId) -> int:
        """How many grants of a token are live, whoever holds them."""
        start = len(layout.token_grant(token))
        names = [key[start:] for key, _ in self._store.iterate(layout.token_grant(token))]
        return sum(self._is_live(token, GrantId(name)) for name in names)

    # Inside.

    def _is_live(self, token_id: TokenId, grant_id: GrantId) -> bool:
        state = self._ledger.state
        token, grant = state.token(token_id), state.grant(token_id, grant_id)
        is_denied = (token_id, grant_id) in self._ledger.denied
        return token is not None and grant is not None and is_live(grant, token) and not is_denied

    def _decode(self, grant_id: GrantId, raw: bytes) -> HeldGrant:
        entry = decode(HeldEntry, raw, limit=_ENTRY_BYTES_MAX)
        body = decode_grant_body(entry.body, self._ledger.state.limits)
        return HeldGrant(grant_id, entry.token, body, entry.body, entry.sealed_hash)

    def _observe(self, final: FinalizedBlock) -> None:
        block = final.block
        bodies = [transaction.body for transaction in final.transactions]
        pairs = zip(bodies, block.sealed, strict=True)
        self._recent[block.header.height] = [
            (body, sealed) for body, sealed in pairs if isinstance(body, Grant)
        ]

    def _late(self, bearer: Bearer, sealed: bytes) -> list[Put]:
        """What to write of a grant whose box came after its block, which may have been searched by then."""
        token, grant_id = bearer
        grant = Grant(token, grant_id, sealed_hash(sealed))
        return [] if grant_id == ABOUT_TOKEN else self._puts([(grant, sealed)])

    async def _search(self, height: int) -> list[Put]:
        recent = self._recent.pop(height, None)
        if recent == []:
            return []
        return await self._offload.run(lambda: self._puts(self._read(height) if recent is None else recent))

    def _read(self, height: int) -> Found:
        block = self._ledger.block(height)
        assert block is not None, "a final block is kept"
        bodies = [decode_transaction(raw).body for raw in block.transactions]
        pairs = zip(bodies, block.sealed, strict=True)
        return [(body, sealed) for body, sealed in pairs if isinstance(body, Grant)]

    def _puts(self, found: Found) -> list[Put]:
        puts: list[Put] = []
        for grant, sealed in found:
            puts.append((layout.token_grant(grant.token, grant.grant_id), b""))
            entry = self._open(grant, sealed)
            if entry is not None:
                puts.append((layout.held_grant(grant.grant_id), encode(entry)))
                puts.append((layout.held_grant_token(grant.token, grant.grant_id), b""))
        return puts

    def _open(self, grant: Grant, sealed: bytes) -> HeldEntry | None:
        """What to keep of a grant that is for us and still counts."""
        # Few boxes are for us: which one is shows sooner than what the ledger says of its grant.
        state = self._ledger.state
        opened = open_grant(self._opening_key, sealed, state.limits) if sealed else None
        if opened is None:
            return None
        registered = state.grant(grant.token, grant.grant_id)
        if registered is None or registered.revoked:
            return None
        # What the box says counts only if it is what the ledger names.
        if (opened.grant_id, opened.body.token) != (grant.grant_id, grant.token):
            return None
        if opened.body.grantee_key != self._identity:
            return None
        return HeldEntry(grant.token, opened.sealed.body, grant.sealed_hash)
