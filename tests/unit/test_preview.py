"""Who could read: each way for the answer to be no, and when."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as vary

from protocol.access import DenyReason
from protocol.blocks import Member, NetworkId
from protocol.codec import digest
from protocol.grants import GrantBody
from protocol.limits import DAY_MS, NetworkLimits
from protocol.preview import WHY_NOT, Given, Scene, promised, sights
from protocol.state import GrantState, Role, TokenState, new_member
from protocol.transactions import TokenId
from tests.ledger_world import CONTENT, opening, signing

LIMITS = NetworkLimits()  # tolerance 10 s
NOW_MS = 1_700_000_000_000
NAME = TokenId(digest("test", b"token"))
OWNER, READER, ISSUER = signing("owner").public, signing("reader").public, signing("issuer").public
TOKEN = TokenState(
    ISSUER, OWNER, bytes(32), opening("owner").public, CONTENT, bytes(32), 2, 1, bytes(32), False, 1, 7
)
BODY = GrantBody(
    NAME, READER, ("read",), ("TREAT",), NOW_MS, NOW_MS + DAY_MS, 60, ("record",), (), False, bytes(16)
)
ENTRY = GrantState(2, 2, False, bytes(32), 5)
MEMBERS = tuple(
    new_member(Member("clinic", key, key, opening("clinic").public, ()), Role.VALIDATOR, 0)
    for key in (ISSUER, READER)
)
SCENE = Scene(NetworkId(digest("test", b"network")), LIMITS, NAME, TOKEN, MEMBERS, (Given(BODY, ENTRY),))


def reading(scene: Scene, at_ms: int = NOW_MS) -> tuple[DenyReason | None, DenyReason | None]:
    """What stands against the owner, and against the first grantee."""
    owner, reader = sights(scene, at_ms)
    assert owner.given is None
    assert reader.given is scene.given[0]
    return owner.refusal, reader.refusal


def test_a_live_share_lets_its_clinic_read_until_it_runs_out() -> None:
    tolerance_ms = LIMITS.tolerance_ms
    assert reading(SCENE) == (None, None)
    assert reading(SCENE, BODY.not_after_ms + tolerance_ms) == (None, None)
    assert reading(SCENE, BODY.not_after_ms + tolerance_ms + 1) == (None, DenyReason.EXPIRED)
    assert reading(SCENE, BODY.not_before_ms - tolerance_ms - 1) == (None, DenyReason.NOT_YET)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, DenyReason.NOT_REGISTERED),
        (vary(ENTRY, revoked=True), DenyReason.REVOKED),
        (vary(ENTRY, generation=1), DenyReason.GENERATION),
    ],
)
def test_the_ledger_has_the_last_word_on_a_share(entry: GrantState | None, reason: DenyReason) -> None:
    assert reading(replace(SCENE, given=(Given(BODY, entry),))) == (None, reason)
    assert WHY_NOT[reason]


def test_nobody_reads_what_is_erased() -> None:
    scene = replace(SCENE, token=vary(TOKEN, erased=True))
    assert reading(scene) == (DenyReason.ERASED, DenyReason.ERASED)


@pytest.mark.parametrize("role", [Role.SUSPENDED, Role.REMOVED])
def test_a_clinic_that_is_shut_out_reads_nothing(role: Role) -> None:
    scene = replace(SCENE, members=(MEMBERS[0], vary(MEMBERS[1], role=int(role))))
    assert reading(scene) == (None, DenyReason.SUSPENDED)


def test_without_an_active_member_nobody_can_be_served() -> None:
    nobody = tuple(vary(one, role=int(Role.SUSPENDED)) for one in MEMBERS)
    assert reading(replace(SCENE, members=nobody)) == (DenyReason.NOT_MEMBER, DenyReason.NOT_MEMBER)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (vary(BODY, actions=("dance",)), DenyReason.ACTION),
        (vary(BODY, scope=("a-part",)), DenyReason.SCOPE),
    ],
)
def test_a_share_counts_by_its_own_words(body: GrantBody, reason: DenyReason) -> None:
    assert reading(replace(SCENE, given=(promised(body, TOKEN),)))[1] is reason


def test_a_share_that_is_thought_of_is_judged_as_if_it_were_signed() -> None:
    later = vary(BODY, not_before_ms=NOW_MS, not_after_ms=NOW_MS + 2 * DAY_MS, salt=b"x" * 16)
    scene = replace(SCENE, given=(*SCENE.given, promised(later, TOKEN)))
    both = [one.refusal for one in sights(scene, NOW_MS + DAY_MS + DAY_MS // 2)]
    assert both == [None, DenyReason.EXPIRED, None]
    assert scene.given[1].is_new


def test_every_refusal_that_a_preview_meets_has_its_sentence() -> None:
    never = {  # a preview asks an honest, fresh clinic that has a copy, in due form
        DenyReason.WRONG_SERVER,
        DenyReason.REPLAYED_NONCE,
        DenyReason.CLOCK,
        DenyReason.NO_TOKEN,
        DenyReason.NO_GRANT,
        DenyReason.MALFORMED,
        DenyReason.OTHER_TOKEN,
        DenyReason.REVOKED_AT_SIGHT,
        DenyReason.NOT_GRANTEE,
        DenyReason.PURPOSE,
        DenyReason.STALE,
        DenyReason.NOT_HELD,
    }
    assert set(WHY_NOT) | never == set(DenyReason)
