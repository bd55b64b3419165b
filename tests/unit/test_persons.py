"""Persons of a wallet and the references by which clinics know them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.codec import digest
from protocol.keys import SigningKey, hkdf
from protocol.persons import REFERENCE_BYTES, PersonSecret, is_reference, person_of, reference
from protocol.wallet import HotMaster, person_secret

NETWORK, OTHER_NETWORK = digest("test", b"one"), digest("test", b"two")
HOT = HotMaster(bytes(range(32)))
SECRETS = tuple(person_secret(HOT, number) for number in range(limits.PERSONS_MAX))
CLINIC, OTHER = (SigningKey(digest("test", name)).public for name in (b"a", b"b"))


def test_a_reference_is_the_beginning_of_an_hmac_under_the_persons_secret() -> None:
    import hmac

    secret = hkdf(bytes(range(32)), "person/3")
    wanted = hmac.digest(secret, NETWORK + CLINIC, "sha256")[:16]
    assert reference(person_secret(HOT, 3), NETWORK, CLINIC) == wanted


def test_clinics_persons_networks_and_wallets_all_have_references_of_their_own() -> None:
    others = tuple(person_secret(HotMaster(bytes(32)), number) for number in range(limits.PERSONS_MAX))
    found = {
        reference(secret, network, key)
        for secret in SECRETS + others
        for network in (NETWORK, OTHER_NETWORK)
        for key in (CLINIC, OTHER)
    }
    assert len(found) == 2 * limits.PERSONS_MAX * 2 * 2
    assert {len(one) for one in found} == {REFERENCE_BYTES}


def test_a_reference_leads_back_to_its_person_for_the_keys_it_may_be_made_for_alone() -> None:
    for number in (0, 1, limits.PERSONS_MAX - 1):
        made = reference(SECRETS[number], NETWORK, CLINIC)
        assert person_of(made, SECRETS, NETWORK, (OTHER, CLINIC)) == number
        assert person_of(made, SECRETS, NETWORK, (OTHER,)) is None
        assert person_of(made, SECRETS, OTHER_NETWORK, (CLINIC,)) is None
        assert person_of(made, SECRETS[:number], NETWORK, (CLINIC,)) is None


@given(st.binary(max_size=40))
def test_what_is_no_reference_is_nobodys(found: bytes) -> None:
    assert person_of(found, SECRETS, NETWORK, (CLINIC, OTHER)) is None
    assert is_reference(found) == (len(found) == REFERENCE_BYTES)


def test_a_wallet_has_no_more_persons_than_a_search_from_the_words_looks_for() -> None:
    with pytest.raises(AssertionError):
        person_secret(HOT, limits.PERSONS_MAX)


def test_a_secret_is_not_shown() -> None:
    shown = repr(PersonSecret(b"k" * 32))
    assert "kkkk" not in shown
    assert (b"k" * 4).hex() not in shown
