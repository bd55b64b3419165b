"""Proofs of state, asked for under our owner keys and believed only when they verify and are fresh."""

import logging
from collections.abc import Sequence

import trio

from node.light.asking import ask_as_owner
from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.wallet import OwnRecord, Wallet
from node.ports import Clock
from protocol import limits
from protocol.blocks import Genesis
from protocol.codec import decode, encode
from protocol.errors import Code, Malformed, ProtocolError, UserError
from protocol.keys import PublicKey
from protocol.messages.light import ProofReply, ProofRequest, Subject
from protocol.ownership import clinics_to_ask
from protocol.proofs import ABOUT_TOKEN, Asked, Shown, verify_state
from protocol.transactions import GrantId

_log = logging.getLogger(__name__)


class Proofs:
    """Asks any clinic, first the record's issuer, until one proves it: what lies, is old or is withheld
    is found out by the proof itself, and the next is asked."""

    def __init__(
        self, *, genesis: Genesis, chain: LightChain, clinics: Clinics, wallet: Wallet, clock: Clock
    ) -> None:
        self._genesis, self._chain, self._clinics = genesis, chain, clinics
        self._wallet, self._clock = wallet, clock

    async def standing(self, record: OwnRecord, grants: Sequence[GrantId]) -> Shown:
        """What is so now of `grants` of one record, by the committee known here.

        Raises:
            UserError: STALE, where no clinic proves it.
        """
        return (await self._ask_all(record, [(record.token, one) for one in grants], is_portable=False))[1]

    async def portable(self, record: OwnRecord, grants: Sequence[GrantId]) -> list[tuple[bytes, Shown]]:
        """Proofs for whoever has the genesis file alone: the first of a record and as many of its grants as
        go with it, then of the others.

        Raises:
            UserError: STALE, where no clinic proves it.
        """
        asked = [(record.token, one) for one in (ABOUT_TOKEN, *grants)]
        return [
            await self._ask_all(record, asked[start : start + limits.CLAIMS_MAX], is_portable=True)
            for start in range(0, len(asked), limits.CLAIMS_MAX)
        ]

    async def _ask_all(
        self, record: OwnRecord, asked: Sequence[Asked], *, is_portable: bool
    ) -> tuple[bytes, Shown]:
        key = self._wallet.owner_key(record).public
        for peer in clinics_to_ask(key, self._clinics.reachable(), first=record.issuer):
            try:
                return await self._ask(peer, record, asked, is_portable=is_portable)
            except (ProtocolError, trio.TooSlowError) as error:
                _log.warning("%s did not prove what is so: %s", peer.hex()[:12], error)
                self._clinics.avoid(peer)
        raise UserError(
            "no clinic proves what the ledger says of this record",
            "check the network, and try again in a minute",
            code=Code.STALE,
        )

    async def _ask(
        self, peer: PublicKey, record: OwnRecord, asked: Sequence[Asked], *, is_portable: bool
    ) -> tuple[bytes, Shown]:
        """Raises ProtocolError where the clinic does not prove it."""
        committee = None if is_portable else self._chain.committee
        epoch = 0 if committee is None else committee.epoch
        owner, count = self._wallet.owner_key(record), len(asked)
        subjects = tuple(Subject(*one) for one in asked)
        reply = await ask_as_owner(
            self._clinics,
            peer,
            self._chain.network,
            [owner],
            lambda nonce, signed: ProofRequest(
                nonce, epoch, subjects, (owner.public,) * count, signed * count
            ),
        )
        proof = decode(ProofReply, reply, limit=limits.LIGHT_REPLY_BYTES_MAX).proof
        if proof is None:
            raise Malformed("the clinic withholds the proof")
        raw = encode(proof)
        shown = verify_state(
            raw,
            self._genesis,
            asked,
            now_ms=self._clock.wall_ms(),
            max_age_ms=self._chain.limits.max_stale_default_ms,
            committee=committee,
        )
        return raw, shown
