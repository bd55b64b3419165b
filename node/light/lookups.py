"""Asking clinics what one-time keys own, and believing it only with a proof.

No clinic is asked about all keys of a patient: that would tell it which belong together. Each key is
asked about at one clinic, at one that knows the key already where there is one, and at the next where that
one does not answer. An answer is proven against a fresh header, also that a key owns nothing; so one is
enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from node.light.asking import ask_as_owner
from node.light.clinics import Clinics
from node.light.headers import LightChain
from protocol import limits
from protocol.blocks import Header
from protocol.codec import decode
from protocol.errors import Malformed, ProtocolError
from protocol.keys import PublicKey, SigningKey
from protocol.messages.light import (
    HEADERS_MAX,
    OWNER_KEYS_MAX,
    OwnedReply,
    OwnedRequest,
)
from protocol.ownership import KeyToken, clinics_to_ask, verify_ownership
from protocol.transactions import sealed_hash


@dataclass(frozen=True, slots=True)
class Question:
    """An owner key, and a clinic that knows it already."""

    key: SigningKey
    knower: PublicKey | None


@dataclass(frozen=True, slots=True)
class Found:
    """What is proven of a key after the block of `header`. `sealed_key` is the box that the token names,
    empty where the key is not its owner now."""

    header: Header
    given: KeyToken | None
    sealed_key: bytes


class Lookups:
    """Spreads questions over the clinics that can be reached."""

    def __init__(self, *, chain: LightChain, clinics: Clinics) -> None:
        self._chain, self._clinics = chain, clinics

    async def find(
        self, questions: Sequence[Question], clinics_max: int = limits.LOOKUP_CLINICS_MAX
    ) -> list[Found | None]:
        """One answer for each question, None where none of at most `clinics_max` clinics gave it."""
        found: list[Found | None] = [None] * len(questions)
        reachable = self._clinics.reachable()
        for turn in range(min(clinics_max, len(reachable))):
            shares: dict[PublicKey, list[int]] = {}
            for at, question in enumerate(questions):
                if found[at] is None:
                    order = clinics_to_ask(question.key.public, reachable, first=question.knower)
                    shares.setdefault(order[turn], []).append(at)
            async with trio.open_nursery() as nursery:
                for peer, share in sorted(shares.items()):
                    nursery.start_soon(self._ask_share, peer, questions, share, found)
        return found

    async def _ask_share(
        self, peer: PublicKey, questions: Sequence[Question], share: list[int], found: list[Found | None]
    ) -> None:
        for start in range(0, len(share), OWNER_KEYS_MAX):
            some = share[start : start + OWNER_KEYS_MAX]
            # What one clinic fails to answer, or lies about, stays open for the next.
            try:
                answers = await self._ask(peer, [questions[at].key for at in some])
            except (ProtocolError, trio.TooSlowError):
                self._clinics.avoid(peer)
                return
            for at, answer in zip(some, answers, strict=True):
                found[at] = answer

    async def _ask(self, peer: PublicKey, keys: Sequence[SigningKey]) -> list[Found]:
        """Raises ProtocolError, trio.TooSlowError."""
        public = tuple(key.public for key in keys)
        raw = await ask_as_owner(
            self._clinics,
            peer,
            self._chain.network,
            keys,
            lambda nonce, signatures: OwnedRequest(nonce, public, signatures),
        )
        reply = decode(OwnedReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
        if len(reply.owned) != len(keys):
            raise Malformed("the reply is not for the keys asked for")
        header = await self._fresh_header(reply.height)
        found: list[Found] = []
        for key, owned in zip(keys, reply.owned, strict=True):
            if owned is None:
                raise Malformed("the clinic does not say what a key of ours owns")
            given = verify_ownership(header, key.public, owned.ownership)
            is_owner = given is not None and given.is_owner
            if is_owner and sealed_hash(owned.sealed_key) != given.state.sealed_key_hash:  # type: ignore[union-attr]
                raise Malformed("not the sealed key that the token names")
            found.append(Found(header, given, owned.sealed_key if is_owner else b""))
        return found

    async def _fresh_header(self, height: int) -> Header:
        """The header of a height that the newest is not long past. Raises Malformed, TooSlowError."""
        if not 0 < height <= self._chain.height + HEADERS_MAX:
            raise Malformed("the height is nowhere near what is final")
        with trio.fail_after(limits.REQUEST_S):
            await self._chain.wait_height(height)
        header = self._chain.header(height)
        if header is None or not self._chain.is_recent(header):
            raise Malformed("the clinic answers from a state that is not fresh")
        return header
