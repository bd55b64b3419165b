"""References link nothing: each holder of one has another, and no key on the ledger is in any."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import digest
from protocol.keys import PublicKey, SigningKey
from protocol.persons import reference
from protocol.wallet import HotMaster, opening_key, owner_key, person_secret

Holder = tuple[HotMaster, int, bytes, PublicKey]

masters = st.binary(min_size=32, max_size=32).map(HotMaster)
networks = st.binary(min_size=32, max_size=32)
clinics = st.binary(min_size=1, max_size=8).map(lambda name: SigningKey(digest("test", name)).public)
persons = st.integers(min_value=0, max_value=31)
holders = st.tuples(masters, persons, networks, clinics)


def made(holder: Holder) -> bytes:
    hot, person, network, key = holder
    return reference(person_secret(hot, person), network, key)


@given(holders, holders, st.lists(st.booleans(), min_size=4, max_size=4))
def test_references_are_the_same_only_for_one_person_at_one_clinic_of_one_network(
    one: Holder, other: Holder, same: list[bool]
) -> None:
    two = tuple(mine if is_same else its for mine, its, is_same in zip(one, other, same, strict=True))
    assert (made(one) == made(two)) == (one == two)  # type: ignore[arg-type]


@given(masters, persons, networks, st.integers(min_value=0, max_value=3))
def test_no_key_on_the_ledger_is_part_of_a_reference_or_has_one_in_it(
    hot: HotMaster, person: int, network: bytes, index: int
) -> None:
    owner, opening = owner_key(hot, index).public, opening_key(hot, index).public
    found = bytes(made((hot, person, network, owner)))
    assert all(found not in bytes(key) and found[:8] not in bytes(key) for key in (owner, opening))
