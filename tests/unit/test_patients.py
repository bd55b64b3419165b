"""A clinic's own names for its patients: bound to one person each, sealed on the disk."""

import pytest

from node.records.patients import Patients
from node.store import layout
from node.store.memory import MemoryStore
from protocol.codec import digest
from protocol.errors import Code, StorageError, UserError
from protocol.keys import OpeningKey
from protocol.persons import Reference
from tests.sim.clock import SimClock
from tests.sim.entropy import SimEntropy

ANN, BOB, NEW = (Reference(digest("test", name)[:16]) for name in (b"ann", b"bob", b"ann again"))


def table(store: MemoryStore, key: bytes = b"k" * 32) -> Patients:
    clock, entropy = SimClock(lambda: 1_000), SimEntropy("patients")
    return Patients(store=store, opening_key=OpeningKey(key), clock=clock, entropy=entropy)


def test_a_name_is_kept_over_a_restart_and_found_both_ways() -> None:
    store = MemoryStore()
    table(store).enrol("Ann", ANN)
    table(store).enrol("Bob", BOB)
    again = table(store)
    assert [one.name for one in again.all()] == ["Ann", "Bob"]
    assert again.references("Ann") == {ANN}
    assert (again.name_of(BOB), again.name_of(NEW)) == ("Bob", "")


def test_to_enrol_again_changes_nothing() -> None:
    patients = table(MemoryStore())
    assert patients.enrol("Ann", ANN) == patients.enrol("Ann", ANN)
    assert len(patients.all()) == 1


def test_two_persons_cannot_have_one_name_nor_one_person_two() -> None:
    patients = table(MemoryStore())
    patients.enrol("Ann", ANN)
    for name, reference in (("Ann", BOB), ("Anna", ANN)):
        with pytest.raises(UserError) as caught:
            patients.enrol(name, reference)
        assert caught.value.code == Code.USAGE
    with pytest.raises(UserError):
        patients.enrol("Anna", ANN, is_also=True)
    assert patients.references("Ann") == {ANN}


def test_the_same_person_may_come_with_a_new_wallet_if_the_clinic_says_so() -> None:
    patients = table(MemoryStore())
    patients.enrol("Ann", ANN)
    patients.enrol("Ann", NEW, is_also=True)
    assert patients.references("Ann") == {ANN, NEW}


def test_a_name_that_cannot_be_shown_is_not_taken() -> None:
    with pytest.raises(UserError):
        table(MemoryStore()).enrol("An\nn", ANN)


def test_neither_name_nor_reference_is_in_clear_on_the_disk() -> None:
    store = MemoryStore()
    table(store).enrol("Ann Example", ANN)
    [(key, value)] = store.iterate(layout.PATIENT)
    for secret in (b"Ann Example", bytes(ANN)):
        assert secret not in key
        assert secret not in value


def test_a_table_of_another_key_is_said_to_be_damaged() -> None:
    store = MemoryStore()
    table(store).enrol("Ann", ANN)
    with pytest.raises(StorageError):
        table(store, b"x" * 32).all()
