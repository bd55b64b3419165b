"""A light client's transactions: to a clinic, or to all of them, until they are shown to be final."""

from collections.abc import Sequence

import trio

from node.light.clinics import Clinics
from node.light.headers import LightChain
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import ProtocolError, UserError
from protocol.keys import PublicKey
from protocol.messages.consensus import Submission
from protocol.messages.light import TRANSACTIONS_MAX, WAIT_MS_MAX, LocateReply, LocateRequest
from protocol.messages.submit import SubmitRequest, decode_submit_reply
from protocol.transactions import TransactionId

LIGHT = "light"
SUBMIT = "submit"
FINAL_WAIT_S = 20.0
EVERYWHERE_S = 5.0
CONNECTED_S = 2.0


class Transactor:
    """Submits signed transactions and verifies that they became final."""

    def __init__(self, *, chain: LightChain, clinics: Clinics) -> None:
        self._chain, self._clinics = chain, clinics

    async def submit(self, submissions: Sequence[Submission]) -> bool:
        """Gives the transactions to the first clinic that takes them all; whether one did."""
        for peer in self._clinics.reachable():
            if await self._submit_to(peer, submissions):
                return True
            self._clinics.avoid(peer)
        return False

    async def submit_everywhere(self, submission: Submission) -> list[PublicKey]:
        """Gives one transaction to every clinic at once; those that hold it durably now."""
        took: list[PublicKey] = []

        async def give(peer: PublicKey) -> None:
            await self._clinics.wait_connected(peer, CONNECTED_S)
            if await self._submit_to(peer, [submission]):
                took.append(peer)

        with trio.move_on_after(EVERYWHERE_S):
            async with trio.open_nursery() as nursery:
                for member in self._clinics.members:
                    nursery.start_soon(give, member.id_key)
        return sorted(took)

    async def wait_final(self, names: Sequence[TransactionId]) -> dict[TransactionId, int]:
        """The heights of those that are shown to be final within FINAL_WAIT_S."""
        heights: dict[TransactionId, int] = {}
        with trio.move_on_after(FINAL_WAIT_S):
            while len(heights) < len(names):
                missing = [name for name in names if name not in heights]
                found = await self._locate(missing[:TRANSACTIONS_MAX])
                heights.update(found)
                if not found:
                    await trio.sleep(0.1)
        return heights

    async def _submit_to(self, peer: PublicKey, submissions: Sequence[Submission]) -> bool:
        request = encode(SubmitRequest(tuple(submissions)))
        raw = await self._clinics.call(peer, SUBMIT, request)
        if raw is None:
            return False
        try:
            return all(decode_submit_reply(raw, len(submissions)).taken)
        except ProtocolError:
            return False

    async def _locate(self, names: Sequence[TransactionId]) -> dict[TransactionId, int]:
        request = encode(LocateRequest(tuple(names), WAIT_MS_MAX // 4))
        for peer in self._clinics.reachable():
            raw = await self._clinics.call(peer, LIGHT, request)
            if raw is None:
                self._clinics.avoid(peer)
                continue
            # A clinic whose proofs do not verify is no better than one that is gone.
            try:
                return await self._verified(names, raw)
            except (ProtocolError, trio.TooSlowError):
                self._clinics.avoid(peer)
        return {}

    async def _verified(self, names: Sequence[TransactionId], raw: bytes) -> dict[TransactionId, int]:
        reply = decode(LocateReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
        found: dict[TransactionId, int] = {}
        for name, located in zip(names, reply.located, strict=False):
            if located is not None:
                await self._chain.verify_located(located, name)
                found[name] = located.height
        return found


def not_taken() -> UserError:
    """No clinic took a transaction: it is against the ledger's rules, or none is in working order."""
    return UserError(
        "no clinic took the change",
        "the record may have new keys or be erased already; look at: chartmesh my records",
    )
