"""Genesis files, cards and certificates: what is refused, one defect at a time."""

import pytest
from msgspec.structs import replace

from protocol.blocks import (
    Genesis,
    check_member,
    decode_genesis,
    network_id,
    sign_card,
    verify_card,
)
from protocol.codec import encode
from protocol.errors import Malformed
from protocol.keys import PublicKey, SealKey
from protocol.limits import DAY_MS, GRANT_LIFE_MS_MAX, NetworkLimits
from tests.ledger_world import CLINICS, GENESIS, VOTERS

MEMBER = GENESIS.members[0]


def test_a_genesis_is_its_own_name() -> None:
    again = decode_genesis(encode(GENESIS))
    assert again == GENESIS
    assert network_id(again) == network_id(GENESIS)
    assert network_id(replace(GENESIS, name="other")) != network_id(GENESIS)


@pytest.mark.parametrize(
    "bad",
    [
        replace(GENESIS, version=2),
        replace(GENESIS, members=()),
        replace(GENESIS, members=GENESIS.members + GENESIS.members[:1]),
        replace(GENESIS, members=(MEMBER, replace(GENESIS.members[1], name=MEMBER.name))),
        replace(GENESIS, members=(MEMBER, replace(GENESIS.members[1], vote_key=MEMBER.id_key))),
        replace(GENESIS, members=(replace(MEMBER, enc_key=SealKey(MEMBER.id_key)),)),
    ],
    ids=["version", "nobody", "twice", "same name", "same key", "key of another kind"],
)
def test_a_genesis_with_one_defect_is_refused(bad: Genesis) -> None:
    with pytest.raises(Malformed):
        decode_genesis(encode(bad))


@pytest.mark.parametrize(
    "own",
    [
        NetworkLimits(heartbeat_ms=0),
        NetworkLimits(heartbeat_ms=60_001),
        NetworkLimits(max_stale_default_ms=DAY_MS + 1),
        NetworkLimits(tolerance_ms=0),
        NetworkLimits(tolerance_ms=60_001),
        NetworkLimits(view_timeout_ms=0),
        NetworkLimits(view_timeout_ms=9_000),
        NetworkLimits(grant_life_max_ms=GRANT_LIFE_MS_MAX + 1),
        NetworkLimits(block_bytes_max=1_000),
        NetworkLimits(block_bytes_max=1 << 30),
        NetworkLimits(holders=0),
        NetworkLimits(grants_per_token_max=0),
        NetworkLimits(audit_head_interval_ms=1),
    ],
)
def test_limits_that_no_node_can_work_under_are_refused(own: NetworkLimits) -> None:
    with pytest.raises(Malformed):
        decode_genesis(encode(replace(GENESIS, limits=own)))


def test_a_card_shows_that_its_clinic_holds_both_keys() -> None:
    card = sign_card(MEMBER, CLINICS[0], VOTERS[0])
    assert verify_card(card) == MEMBER
    other = encode(replace(MEMBER, name="other"))
    for bad in (
        replace(card, body=other),
        replace(card, id_signature=card.vote_signature),
        replace(card, vote_signature=card.id_signature),
        sign_card(MEMBER, CLINICS[0], VOTERS[1]),
        sign_card(MEMBER, CLINICS[1], VOTERS[0]),
    ):
        with pytest.raises(Malformed):
            verify_card(bad)


@pytest.mark.parametrize(
    "bad",
    [
        replace(MEMBER, name=""),
        replace(MEMBER, name="x" * 65),
        replace(MEMBER, name="a\nb"),
        replace(MEMBER, id_key=PublicKey(b"\x01" * 32)),
        replace(MEMBER, addresses=("a",) * 9),
        replace(MEMBER, addresses=("a" * 257,)),
    ],
)
def test_a_card_out_of_its_limits_is_refused(bad: object) -> None:
    with pytest.raises(Malformed):
        check_member(bad)  # type: ignore[arg-type]
