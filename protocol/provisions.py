"""Grants by kind: what a patient lets a clinic read of her records, those too that are still to come.

A provision (FHIR's word for a rule of a consent) stays in her wallet. It gives nobody access: the wallet
signs a grant for each record that it covers, and clinics know of grants alone.
"""

from typing import Final

from protocol.codec import Wire
from protocol.grants import RecordLabel
from protocol.keys import PublicKey

ALL_KINDS: Final = "all"
ANYBODY: Final = PublicKey(b"")


class Provision(Wire, frozen=True):
    """`grantee` may read the records of `person` for `purposes`, until `not_after_ms`: those of the type
    `kind` or ALL_KINDS, which `issuer` or ANYBODY added, at `since_ms` or later. Unix milliseconds."""

    name: bytes
    grantee: PublicKey
    purposes: tuple[str, ...]
    kind: str
    issuer: PublicKey
    since_ms: int
    person: int
    not_after_ms: int


def covers(provision: Provision, issuer: PublicKey, label: RecordLabel, person: int | None) -> bool:
    """Whether a record is of those that the provision is about. One of nobody known never is."""
    return (
        person == provision.person
        and provision.kind in (ALL_KINDS, label.type)
        and provision.issuer in (ANYBODY, issuer)
        and label.time_ms >= provision.since_ms
    )
