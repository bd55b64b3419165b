"""Transactions of seeded patients: a record minted, shared, and no longer shared, with real signatures."""

import random
from dataclasses import dataclass

from protocol import limits
from protocol.blocks import NetworkId
from protocol.codec import digest
from protocol.keys import OpeningKey, SigningKey
from protocol.messages.consensus import Submission
from protocol.transactions import (
    Content,
    Enrolment,
    Grant,
    GrantId,
    Mint,
    Revoke,
    TokenId,
    next_key_hash,
    sealed_hash,
    sign_enrolment,
    sign_transaction,
    transaction_id,
)
from tests.sim.clock import EPOCH_MS


@dataclass(frozen=True)
class Patient:
    """The one-time keys of one record."""

    owner: SigningKey
    next_key: SigningKey
    opening: OpeningKey

    @classmethod
    def of(cls, dice: random.Random) -> "Patient":
        return cls(
            SigningKey(dice.randbytes(32)), SigningKey(dice.randbytes(32)), OpeningKey(dice.randbytes(32))
        )


def mint(patient: Patient, issuer: SigningKey, network: NetworkId, dice: random.Random) -> Submission:
    """A record of this patient at the clinic whose identity key is `issuer`."""
    next_hash = next_key_hash(patient.next_key.public)
    enrolment = Enrolment(
        issuer.public,
        patient.owner.public,
        next_hash,
        patient.opening.public,
        EPOCH_MS + limits.ENROLMENT_LIFE_MS_MAX // 2,
    )
    hashes = [digest("sim-content", dice.randbytes(32)) for _ in range(4)]
    content = Content(1, limits.CHUNK_BYTES, 1_000, 1, *hashes)
    sealed = dice.randbytes(80)
    body = Mint(
        dice.randbytes(16),
        issuer.public,
        patient.owner.public,
        next_hash,
        patient.opening.public,
        content,
        sealed_hash(sealed),
        sign_enrolment(enrolment, patient.owner, network),
    )
    return Submission(sign_transaction(body, (issuer,), network), sealed)


def grant(
    patient: Patient, minted: Submission, grant_id: GrantId, network: NetworkId, dice: random.Random
) -> Submission:
    """Registers a grant of the record of `minted`."""
    sealed = dice.randbytes(200)
    body = Grant(token_of(minted), grant_id, sealed_hash(sealed))
    return Submission(sign_transaction(body, (patient.owner,), network), sealed)


def revoke(patient: Patient, minted: Submission, grant_id: GrantId, network: NetworkId) -> Submission:
    """Ends a grant, registered or not."""
    body = Revoke(token_of(minted), grant_id)
    return Submission(sign_transaction(body, (patient.owner,), network), b"")


def token_of(minted: Submission) -> TokenId:
    return TokenId(transaction_id(minted.transaction))
