"""The members as the ledger has them now: the genesis file knows only those who founded the network."""

import logging

import trio

from node.light.clinics import Clinics
from node.light.headers import PROTOCOL, LightChain
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import ProtocolError
from protocol.messages.light import RollReply, RollRequest
from protocol.roll import verify_roll

_log = logging.getLogger(__name__)


class Members:
    """Keeps the list of `clinics` to what a clinic proves of the ledger."""

    def __init__(self, *, chain: LightChain, clinics: Clinics) -> None:
        self._chain, self._clinics = chain, clinics

    async def refresh(self) -> None:
        """Asks one clinic after the other; where none can show it, what was known before stands."""
        for peer in self._clinics.reachable():
            raw = await self._clinics.call(peer, PROTOCOL, encode(RollRequest()))
            if raw is None:
                continue
            # What one clinic cannot prove, another may.
            try:
                await self._take(decode(RollReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX))
                return
            except (ProtocolError, trio.TooSlowError) as error:
                _log.warning("%s did not prove who is a member: %s", peer.hex()[:12], error)

    async def _take(self, reply: RollReply) -> None:
        """Raises ProtocolError, trio.TooSlowError: it is not proven, or of a height not known here."""
        with trio.fail_after(limits.REQUEST_S):
            await self._chain.wait_height(reply.height)
        header = self._chain.header(reply.height)
        if header is not None:
            self._clinics.set_members(verify_roll(header, reply.roll))
