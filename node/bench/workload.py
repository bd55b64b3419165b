"""Signed transactions for the benches: patients of a network, their records and their grants.

Nothing is random: keys are hashes of names. Sealed bytes have the size that real ones have, and no
meaning.
"""

from collections.abc import Iterator, Sequence
from hashlib import shake_256

from protocol import limits
from protocol.codec import HASH_BYTES, digest
from protocol.keys import OpeningKey, SigningKey
from protocol.messages.consensus import Submission
from protocol.transactions import (
    Content,
    Enrolment,
    Grant,
    GrantId,
    Mint,
    TokenId,
    next_key_hash,
    sealed_hash,
    sign_enrolment,
    sign_transaction,
    transaction_id,
)

SEALED_KEY_BYTES = 256
SEALED_GRANT_BYTES = 512
GRANTS_PER_MINT = 4
"""Four transactions of five are grants in the mix: a record is shared more often than made."""

CONTENT = Content(1, limits.CHUNK_BYTES, 1_000_000, 4, *(bytes(HASH_BYTES) for _ in range(4)))


def seed(*parts: object) -> bytes:
    """32 bytes that depend on `parts` alone: the seed of a key."""
    return digest("bench", repr(parts).encode())


class Workload:
    """The transactions of one run, each valid once those before it are final."""

    def __init__(
        self, network: bytes, issuers: Sequence[SigningKey], *, not_after_ms: int, first: int = 0
    ) -> None:
        """`issuers` mint in turn, under enrolments that last until `not_after_ms`. All that is made is
        numbered from `first` on: what has the same number is the same."""
        self._network, self._issuers, self._not_after_ms = network, issuers, not_after_ms
        self._owners: list[tuple[TokenId, SigningKey]] = []
        self._minted = self._granted = first

    def records(self, count: int) -> Iterator[Submission]:
        """Mints of the records that later grants are for: they must be final before `grants`."""
        for _ in range(count):
            owner, submission = self._mint()
            self._owners.append((TokenId(transaction_id(submission.transaction)), owner))
            yield submission

    def mints(self, count: int) -> list[Submission]:
        return [self._mint()[1] for _ in range(count)]

    def grants(self, count: int) -> list[Submission]:
        """Grants for the records in turn."""
        return [self._grant() for _ in range(count)]

    def mix(self, count: int) -> list[Submission]:
        """Four grants, a mint, and again."""
        period = GRANTS_PER_MINT + 1
        return [
            self._mint()[1] if index % period == GRANTS_PER_MINT else self._grant()
            for index in range(count)
        ]

    def _mint(self) -> tuple[SigningKey, Submission]:
        number, self._minted = self._minted, self._minted + 1
        owner = SigningKey(seed("owner", number))
        issuer = self._issuers[number % len(self._issuers)]
        next_hash = next_key_hash(SigningKey(seed("next", number)).public)
        enc_key = OpeningKey(seed("enc", number)).public
        sealed = shake_256(seed("sealed key", number)).digest(SEALED_KEY_BYTES)
        terms = Enrolment(issuer.public, owner.public, next_hash, enc_key, self._not_after_ms)
        body = Mint(
            nonce=number.to_bytes(16, "big"),
            issuer=issuer.public,
            owner_key=owner.public,
            next_key_hash=next_hash,
            enc_key=enc_key,
            content=CONTENT,
            sealed_key_hash=sealed_hash(sealed),
            enrolment=sign_enrolment(terms, owner, self._network),
        )
        return owner, Submission(sign_transaction(body, (issuer,), self._network), sealed)

    def _grant(self) -> Submission:
        number, self._granted = self._granted, self._granted + 1
        token, owner = self._owners[number % len(self._owners)]
        sealed = shake_256(seed("sealed grant", number)).digest(SEALED_GRANT_BYTES)
        body = Grant(token, GrantId(seed("grant", number)), sealed_hash(sealed))
        return Submission(sign_transaction(body, (owner,), self._network), sealed)
