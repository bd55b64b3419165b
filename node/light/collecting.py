"""Access requests fetched from the clinics that can have made them, and answers told to these.

A request is addressed to a one-time key, and only a clinic that knows the key can have asked: the one that
a receive code was made for, the issuer of a record, and who was let read it. Each is asked about the keys
that it knows already and about no others. After a restore from the words alone, codes that nothing was
issued for yet are not known any more, nor what was asked by them.
"""

import logging
from collections.abc import Sequence

import trio
from msgspec.structs import replace

from node.light.asking import ask_as_owner
from node.light.clinics import Clinics
from node.light.headers import PROTOCOL, LightChain
from node.light.known_requests import Found, KnownRequest, KnownRequests
from node.light.wallet import Keyed, Wallet
from node.ports import Clock
from protocol import limits
from protocol.access_requests import (
    RequestAnswer,
    Standing,
    VerifiedRequest,
    open_request,
    sign_answer,
    verify_request,
)
from protocol.codec import decode, encode
from protocol.errors import Malformed, ProtocolError
from protocol.keys import PublicKey
from protocol.messages.light import (
    OWNER_KEYS_MAX,
    AnswerReply,
    AnswerRequest,
    WaitingRequest,
    decode_waiting_reply,
)

CONNECTED_S = 2.0
_log = logging.getLogger(__name__)


class Collecting:
    """Asks all clinics at once, each about its own keys."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        known: KnownRequests,
        clock: Clock,
    ) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet
        self._known, self._clock = known, clock

    async def collect(self) -> list[PublicKey]:
        """Keeps what is new at the clinics that can have asked, and tells them what they do not know yet;
        those that could not be asked."""
        unreached = list[PublicKey]()

        async def ask(peer: PublicKey, keys: Sequence[Keyed]) -> None:
            await self._clinics.wait_connected(peer, CONNECTED_S)
            # A clinic that does not answer as one would is named as missing.
            try:
                for start in range(0, len(keys), OWNER_KEYS_MAX):
                    await self._ask(peer, keys[start : start + OWNER_KEYS_MAX])
            except ProtocolError:
                self._clinics.avoid(peer)
                unreached.append(peer)

        async with trio.open_nursery() as nursery:
            for peer, keys in sorted(self._keys_by_clinic().items()):
                nursery.start_soon(ask, peer, keys)
            for found in self._known.all():
                if found.known.standing != Standing.WAITING and not found.known.told:
                    nursery.start_soon(self.tell, found)
        return sorted(unreached)

    def _keys_by_clinic(self) -> dict[PublicKey, list[Keyed]]:
        """The keys that each member knows already."""
        members = {member.id_key for member in self._clinics.members}
        known: dict[PublicKey, dict[tuple[int, int], Keyed]] = {peer: {} for peer in members}
        subjects: list[tuple[Keyed, set[PublicKey]]] = [
            (one, {one.knower}) for one in self._wallet.offers()
        ]
        grantees: dict[bytes, set[PublicKey]] = {}
        for grant in self._wallet.grants():
            grantees.setdefault(grant.token, set()).add(grant.grantee)
        for record in self._wallet.records():
            subjects.append((record, {record.issuer} | grantees.get(record.token, set())))
        for keyed, knowers in subjects:
            for peer in knowers & members:
                known[peer][keyed.device, keyed.index] = keyed
        return {peer: list(keys.values()) for peer, keys in known.items() if keys}

    async def _ask(self, peer: PublicKey, keyed: Sequence[Keyed]) -> None:
        """Keeps what `peer` asks the holder of these keys. Raises ProtocolError."""
        signing = [self._wallet.owner_key(one) for one in keyed]
        public = [key.public for key in signing]
        raw = await ask_as_owner(
            self._clinics,
            peer,
            self._chain.network,
            signing,
            lambda nonce, signatures: WaitingRequest(nonce, tuple(public), signatures),
        )
        by_key = dict(zip(public, keyed, strict=True))
        for waiting in decode_waiting_reply(raw, public).waiting:
            one = by_key[waiting.key]
            # What nobody could be shown is left out, and what else the clinic asks is shown.
            try:
                self._keep(self._verified(peer, waiting.key, one, waiting.sealed), one)
            except Malformed as error:
                _log.warning("%s asks wrongly: %s", self._clinics.name_of(peer), error)

    def _verified(self, peer: PublicKey, key: PublicKey, keyed: Keyed, sealed: bytes) -> VerifiedRequest:
        """Raises Malformed."""
        signed = open_request(self._wallet.opening_key(keyed), sealed)
        if signed is None:
            raise Malformed("a request in a box that is not for this key")
        return verify_request(
            signed,
            network=self._chain.network,
            network_limits=self._chain.limits,
            to=key,
            server=peer,
            now_ms=self._clock.wall_ms(),
        )

    def _keep(self, verified: VerifiedRequest, keyed: Keyed) -> None:
        """Keeps a request that is new, unless its clinic has too many waiting here."""
        kept, name, request = self._known.all(), verified.request_id, verified.request
        same = next((one for one in kept if one.name == name), None)
        if same is not None:
            if same.known.standing != Standing.WAITING and same.known.told:
                self._known.put(name, replace(same.known, told=False))
            return
        waiting = [one for one in kept if one.known.standing == Standing.WAITING]
        if sum(one.request.asker == request.asker for one in waiting) >= limits.REQUESTS_PER_ASKER_MAX:
            _log.warning("%s asks for too much: left out", self._clinics.name_of(request.asker))
            return
        self._known.put(
            name, KnownRequest(encode(request), keyed.device, keyed.index, Standing.WAITING, False)
        )

    async def tell(self, found: Found) -> bool:
        """Tells the clinic that asked what was answered: whether it knows now."""
        key = self._wallet.owner_key(found.known)
        is_approved = found.known.standing == Standing.APPROVED
        answer = RequestAnswer(found.name, found.request.asker, is_approved)
        signature = sign_answer(answer, key, self._chain.network)
        told = AnswerRequest(found.name, is_approved, signature)
        await self._clinics.wait_connected(found.request.asker, CONNECTED_S)
        raw = await self._clinics.call(found.request.asker, PROTOCOL, encode(told))
        # What a clinic does not take now is told again the next time.
        try:
            taken = raw is not None and decode(AnswerReply, raw, limit=limits.KIB).taken
        except ProtocolError:
            self._clinics.avoid(found.request.asker)
            return False
        if taken:
            self._known.put(found.name, replace(found.known, told=True))
        return taken
