"""Looking whether a record is as it should be: its entry on the ledger, and its copies."""

from typing import Final

from node.chain.ledger import Ledger
from node.exchange import Exchange
from node.ports import Offload, Store
from node.records.copy_challenges import CopyChallenges, Shown
from node.records.grants_inbox import GrantsInbox
from node.records.ids import find_token
from node.records.vault import BlobReader, Vault
from protocol import limits
from protocol.blobs import verify_chunk
from protocol.control import CopyVerdict, RecordVerify, RecordVerifyResult
from protocol.errors import StorageError
from protocol.keys import PublicKey
from protocol.state import TokenState, token_entry_key
from protocol.statemap import verify_proof
from protocol.transactions import TokenId

WHOLE: Final = "whole"
DAMAGED: Final = "damaged"


class RecordCheck:
    """Answers `record verify`. `identity` is this clinic."""

    def __init__(
        self,
        *,
        identity: PublicKey,
        ledger: Ledger,
        store: Store,
        vault: Vault,
        inbox: GrantsInbox,
        challenges: CopyChallenges,
        offload: Offload,
    ) -> None:
        self._identity, self._ledger, self._store = identity, ledger, store
        self._vault, self._inbox, self._challenges = vault, inbox, challenges
        self._offload = offload

    async def verify(self, request: RecordVerify, exchange: Exchange) -> RecordVerifyResult:
        """Holds the record's entry against the newest final header, reads every chunk of the copy here
        again, and has each other holder show some that are drawn now.

        Raises:
            Refused: no such record. UserError: AMBIGUOUS_ID.
        """
        await self._inbox.wait_searched()
        name = await self._offload.run(lambda: find_token(self._store, self._ledger.state, request.id))
        token = self._ledger.state.token(name)
        assert token is not None, "found on the ledger"
        return RecordVerifyResult(
            token=name.hex(),
            height=self._ledger.height,
            is_proven=self._is_proven(name),
            erased=token.erased,
            chunks=token.content.chunks,
            copies=() if token.erased else await self._copies(name, token, exchange),
        )

    def _is_proven(self, name: TokenId) -> bool:
        """Whether its entry is under the state root that a quorum signed."""
        state, key = self._ledger.state, token_entry_key(name)
        value = state.entries.get(key)
        root = self._ledger.head.header.state_root
        return value is not None and verify_proof(root, key, value, state.entries.prove(key))

    async def _copies(
        self, name: TokenId, token: TokenState, exchange: Exchange
    ) -> tuple[CopyVerdict, ...]:
        worst: dict[PublicKey, Shown] = {}
        looks = min(limits.VERIFY_LOOKS, token.content.chunks)
        for _ in range(looks):
            for peer, shown in (await self._challenges.look(name, token)).items():
                if worst.get(peer, Shown.SHOWN) == Shown.SHOWN:
                    worst[peer] = shown
        verdicts: list[CopyVerdict] = []
        for peer, shown in worst.items():
            called = self._ledger.membership.name_of(peer)
            if peer == self._identity:
                state, bad = await self._read_own(token, exchange)
                read = token.content.chunks if state != Shown.MISSING else 0
                verdicts.append(
                    CopyVerdict(member=peer.hex(), name=called, state=state, looked_at=read, bad=bad)
                )
            else:
                seen = looks if shown == Shown.SHOWN else 0
                verdicts.append(CopyVerdict(member=peer.hex(), name=called, state=shown, looked_at=seen))
        return tuple(verdicts)

    async def _read_own(self, token: TokenState, exchange: Exchange) -> tuple[str, int]:
        """What the copy here is, and how many of its chunks are not what they should be."""
        try:
            reader = await self._vault.open(token.issuer, token.content.root)
        except StorageError:
            return DAMAGED, token.content.chunks
        if reader is None:
            return Shown.MISSING, 0
        bad, total = 0, token.content.chunks
        for first in range(0, total, limits.RUN_CHUNKS):
            indexes = range(first, min(first + limits.RUN_CHUNKS, total))
            bad += await self._offload.run(lambda indexes=indexes: _count_bad(reader, indexes))  # type: ignore[misc]
            await exchange.progress("reading the copy here", done=indexes.stop, total=total, unit="chunks")
        return (DAMAGED if bad else WHOLE), bad


def _count_bad(reader: BlobReader, indexes: range) -> int:
    """How many of these chunks are gone, or not under the root. Runs in a thread."""
    bad = 0
    for index in indexes:
        try:
            frame = reader.frame(index)
        except StorageError:
            bad += 1
            continue
        bad += not verify_chunk(reader.content, index, frame.ciphertext, frame.path)
    return bad
