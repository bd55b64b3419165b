"""Amendments: a record that names the one it takes the place of, so that both are one with a history.

A record is never changed: what was right at the time stays readable, as clinical law asks. Whoever issued
it issues a new one, whose label names the old (HL7 FHIR calls that `relatesTo.replaces`). The label is the
issuer's word, so it counts for records of its own alone: else any clinic could hide another's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from protocol.keys import PublicKey
from protocol.transactions import TokenId


@dataclass(frozen=True, slots=True)
class Version:
    """What places a record in a history. `prior` is empty where it amends none; `time_ms` is Unix time."""

    token: TokenId
    issuer: PublicKey
    prior: bytes
    time_ms: int


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a record amends, and the newest record that amends it, where that is so."""

    prior: TokenId | None
    amended_by: TokenId | None


def amendments(versions: Iterable[Version]) -> dict[TokenId, Amendment]:
    """The place of each record in its history.

    A prior counts where both are among `versions` and have one issuer.
    """
    known = {version.token: version for version in versions}
    priors: dict[TokenId, TokenId] = {}
    newest: dict[TokenId, TokenId] = {}
    # From the oldest to the newest, so that the newest of several is the one that stays.
    for version in sorted(known.values(), key=lambda one: (one.time_ms, one.token)):
        prior = known.get(TokenId(version.prior))
        if prior is not None and prior is not version and prior.issuer == version.issuer:
            priors[version.token] = prior.token
            newest[prior.token] = version.token
    return {token: Amendment(priors.get(token), newest.get(token)) for token in known}
