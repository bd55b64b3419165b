"""Proofs of state: what is so of tokens and grants, believed by whoever has the genesis file alone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.blocks import Finality, Phase, block_hash, genesis_committee
from protocol.codec import encode
from protocol.errors import Code, RemoteProtocolError
from protocol.limits import CLAIMS_MAX, DAY_MS, NetworkLimits
from protocol.proofs import (
    Route,
    Shown,
    Standing,
    StateProof,
    prove_state,
    verify_route,
    verify_state,
)
from protocol.transactions import GrantId, TokenId
from tests.ledger_world import GENESIS, START, genesis, keys
from tests.proof_world import ASKED, ENDS, HEADER, ROUTE, STATE, certify, proof_of

NOW_MS = HEADER.time_ms + 1_000
START_HEADER = replace(ENDS[0].header, height=0, view=0)


def verify(proof: StateProof, *asked: Standing, **fields: Any) -> Shown:
    """What `proof` shows to someone who asked for what has these standings; where none is given, for the
    grant that lives."""
    about = [ASKED[standing] for standing in asked or (Standing.LIVE,)]
    return verify_state(encode(proof), GENESIS, about, **{"now_ms": NOW_MS, **fields})


@pytest.mark.parametrize("standing", Standing)
def test_each_standing_is_shown_from_the_genesis_file_on(standing: Standing) -> None:
    shown = verify(proof_of(standing), standing)
    assert (shown.height, shown.time_ms, shown.block) == (HEADER.height, HEADER.time_ms, block_hash(HEADER))
    [proven] = shown.proven
    assert (proven.standing, (proven.claim.token, proven.claim.grant)) == (standing, ASKED[standing])
    assert (proven.token is None) == (standing is Standing.ABSENT)


def test_the_owner_of_a_token_is_shown_and_that_a_rotation_made_a_new_one() -> None:
    both = Standing.OWNED, Standing.ENDED
    [anne, bert] = verify(proof_of(*both), *both).proven
    assert anne.token is not None
    assert bert.token is not None
    assert anne.token.owner_key == keys("anne").owner.public
    assert bert.token.owner_key == keys("bert", 1).owner.public


def test_one_proof_holds_several_standings() -> None:
    assert [proven.standing for proven in verify(proof_of(*Standing), *Standing).proven] == list(Standing)


@pytest.mark.parametrize("standing", Standing)
def test_no_other_standing_follows_from_the_same_state(standing: Standing) -> None:
    proof = proof_of(standing)
    for other in [*set(Standing) - {standing}, 0, 8, 300]:
        with pytest.raises(RemoteProtocolError):
            verify(replace(proof, standings=(other,)), standing)


def mutations(raw: bytes, *changes: int) -> Iterator[bytes]:
    for at in range(len(raw)):
        for change in changes:
            yield raw[:at] + bytes((raw[at] ^ change,)) + raw[at + 1 :]
    yield from (raw[:-1], raw + b"\0", b"")


@pytest.mark.parametrize("standing", Standing)
def test_every_single_byte_of_every_proof_counts(standing: Standing) -> None:
    raw = encode(proof_of(standing, route=replace(ROUTE, ends=())))
    for bad in mutations(raw, 0x01, 0x80):
        with pytest.raises(RemoteProtocolError):
            verify_state(bad, GENESIS, [ASKED[standing]], now_ms=NOW_MS, committee=STATE.committee)


def test_every_single_byte_of_the_way_counts() -> None:
    raw = encode(proof_of(Standing.LIVE))
    for bad in mutations(raw, 0x01):
        with pytest.raises(RemoteProtocolError):
            verify_state(bad, GENESIS, [ASKED[Standing.LIVE]], now_ms=NOW_MS)


def test_a_true_proof_of_something_else_is_refused() -> None:
    raw = encode(proof_of(Standing.LIVE))
    for other in ([], [ASKED[Standing.OWNED]], [ASKED[Standing.LIVE]] * 2):
        with pytest.raises(RemoteProtocolError):
            verify_state(raw, GENESIS, other, now_ms=NOW_MS)


def test_a_known_committee_needs_no_way_from_the_genesis_file() -> None:
    proof = proof_of(Standing.LIVE, route=replace(ROUTE, ends=()))
    with pytest.raises(RemoteProtocolError):
        verify(proof)
    assert verify(proof, committee=STATE.committee).height == HEADER.height
    with pytest.raises(RemoteProtocolError):
        verify(proof_of(Standing.LIVE), committee=STATE.committee)


def test_a_route_gives_the_roster_of_every_epoch_on_the_way() -> None:
    committee = genesis_committee(GENESIS)
    assert [roster.epoch for roster in verify_route(ROUTE, committee)] == [1, 2]
    assert verify_route(ROUTE, committee)[-1] == STATE.roster


@pytest.mark.parametrize(
    "spoil",
    [
        lambda route: replace(route, ends=route.ends[1:]),
        lambda route: replace(route, ends=route.ends[:1]),
        lambda route: replace(route, ends=route.ends[::-1]),
        lambda route: replace(route, ends=(*route.ends, route.ends[1])),
        lambda route: replace(route, ends=(replace(ENDS[0], opening=ENDS[1].opening), ENDS[1])),
        lambda route: replace(
            route, ends=(replace(ENDS[0], finality=Finality(ENDS[0].finality.certificate)), ENDS[1])
        ),
        lambda route: replace(route, finality=Finality(certify(HEADER, STATE.committee, phase=Phase.VOTE))),
        lambda route: replace(route, finality=Finality(certify(HEADER, STATE.committee, count=1))),
        lambda route: replace(route, finality=ENDS[1].finality),
        lambda route: replace(route, header=replace(HEADER, time_ms=HEADER.time_ms + 1)),
        lambda route: replace(route, header=ENDS[1].header, finality=ENDS[1].finality),
        lambda route: Route((), START_HEADER, route.finality),
    ],
    ids=[
        "first epoch left out",
        "last epoch left out",
        "epochs in another order",
        "an epoch twice",
        "the roster of another epoch",
        "a tail left out",
        "only notarized",
        "too few signed",
        "the finality of another header",
        "another time",
        "a header of an earlier epoch",
        "the header of height 0",
    ],
)
def test_a_way_with_one_step_wrong_leads_nowhere(spoil: Callable[[Route], Route]) -> None:
    proof = proof_of(Standing.LIVE)
    with pytest.raises(RemoteProtocolError):
        verify(replace(proof, route=spoil(proof.route)))


def test_a_proof_says_nothing_for_another_network() -> None:
    other = genesis(NetworkLimits(holders=2))
    with pytest.raises(RemoteProtocolError):
        verify_state(encode(proof_of(Standing.LIVE)), other, [ASKED[Standing.LIVE]], now_ms=NOW_MS)


def test_a_proof_is_of_its_time() -> None:
    proof = proof_of(Standing.LIVE)
    month = HEADER.time_ms + 30 * DAY_MS
    assert verify(proof, now_ms=month).time_ms == HEADER.time_ms
    with pytest.raises(RemoteProtocolError) as stale:
        verify(proof, now_ms=month, max_age_ms=60_000)
    assert stale.value.code is Code.STALE
    assert verify(proof, now_ms=HEADER.time_ms + 60_000, max_age_ms=60_000)
    early = HEADER.time_ms - GENESIS.limits.tolerance_ms
    assert verify(proof, now_ms=early)
    with pytest.raises(RemoteProtocolError, match="later"):
        verify(proof, now_ms=early - 1)


def test_questions_are_some_and_not_too_many_and_about_ids() -> None:
    proof = proof_of(Standing.LIVE)
    token, grant = ASKED[Standing.LIVE]
    for asked in (
        [],
        [(token, grant)] * (CLAIMS_MAX + 1),
        [(TokenId(token[:31]), grant)],
        [(token, GrantId(b"short"))],
    ):
        as_many = replace(proof, standings=proof.standings * len(asked))
        with pytest.raises(RemoteProtocolError, match=r"what was asked|id that is none"):
            verify_state(encode(as_many), GENESIS, asked, now_ms=NOW_MS)


def test_as_many_standings_as_were_asked_for() -> None:
    proof = proof_of(Standing.LIVE)
    for standings in ((), proof.standings * 2):
        with pytest.raises(RemoteProtocolError, match="more or less"):
            verify(replace(proof, standings=standings))


def test_a_standing_in_another_state_is_refused() -> None:
    old = prove_state(ROUTE, START, [ASKED[Standing.LIVE]])
    assert old.standings == (Standing.ABSENT,)
    with pytest.raises(RemoteProtocolError, match="not of this state"):
        verify(old)
    with pytest.raises(RemoteProtocolError, match="does not follow"):
        verify(replace(proof_of(Standing.LIVE), standings=(int(Standing.ABSENT),)))
