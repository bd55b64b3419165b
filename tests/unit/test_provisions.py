"""Which records a provision covers: each of its terms, alone."""

import pytest
from msgspec.structs import replace

from protocol.grants import RecordLabel
from protocol.provisions import ALL_KINDS, ANYBODY, Provision, covers
from tests.ledger_world import signing

ISSUER, OTHER = signing("issuer").public, signing("other").public
LABEL = RecordLabel("Blood count", "fhir", "count.json", 1_000, 5_000, b"")
EXACT = Provision(b"n" * 16, signing("reader").public, ("TREAT",), "fhir", ISSUER, 5_000, 1, 9_000)


def test_a_record_that_is_all_that_was_said_is_covered() -> None:
    assert covers(EXACT, ISSUER, LABEL, 1)
    assert covers(replace(EXACT, kind=ALL_KINDS, issuer=ANYBODY, since_ms=0), OTHER, LABEL, 1)


@pytest.mark.parametrize(
    ("provision", "issuer", "label", "person"),
    [
        (EXACT, OTHER, LABEL, 1),
        (EXACT, ISSUER, replace(LABEL, type="dicom"), 1),
        (EXACT, ISSUER, replace(LABEL, time_ms=4_999), 1),
        (EXACT, ISSUER, LABEL, 0),
        (EXACT, ISSUER, LABEL, None),
    ],
)
def test_a_record_that_differs_in_one_thing_is_not(
    provision: Provision, issuer: bytes, label: RecordLabel, person: int | None
) -> None:
    assert not covers(provision, issuer, label, person)  # type: ignore[arg-type]
