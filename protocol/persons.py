"""The persons of one wallet, and by what each clinic knows one of them.

A wallet may hold the records of several people: a mother's and her child's. Joining by wallet would mix
them, and the ledger must link nothing. So each person has a secret (`protocol.wallet.person_secret`), and
each clinic a *reference* of its own for each person, by which it joins what it issued with what others
issued and she shares with it. Two clinics cannot compare their references, and none leads to a key on the
ledger.

A reference opens nothing and proves nothing: whoever learns one could at most put a record of his own
beside hers in that clinic's list.
"""

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NewType

from protocol.keys import PublicKey

Reference = NewType("Reference", bytes)
"""16 bytes: one person, as one clinic knows her."""

REFERENCE_BYTES: Final = 16
OWN: Final = 0
"""The number of the person that every wallet begins with."""
OWN_NAME: Final = "me"


@dataclass(frozen=True, slots=True, repr=False)
class PersonSecret:
    """Derives one person's references. 32 secret bytes."""

    secret: bytes


def reference(secret: PersonSecret, network: bytes, known_to: PublicKey) -> Reference:
    """By what the holder of the key `known_to` knows the person: a clinic's identity key, or the owner key
    of a record of hers, where she leaves herself word whose it is."""
    return Reference(hmac.digest(secret.secret, network + known_to, "sha256")[:REFERENCE_BYTES])


def person_of(
    found: bytes, secrets: Sequence[PersonSecret], network: bytes, known_to: Collection[PublicKey]
) -> int | None:
    """The number of the person whom `found` is a reference to, made for one of the keys `known_to`; None
    where it is none of theirs. `secrets` are the persons', by their numbers."""
    for person, secret in enumerate(secrets):
        if any(hmac.compare_digest(reference(secret, network, key), found) for key in known_to):
            return person
    return None


def is_reference(found: bytes) -> bool:
    """Whether `found` has the shape of a reference."""
    return len(found) == REFERENCE_BYTES
