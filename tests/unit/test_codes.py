"""A receive code is good for one clinic of one network, for a time, once a record, and says why not."""

from collections.abc import Callable

import msgspec
import pytest

from protocol import limits
from protocol.armour import CodeKind, wrap_code
from protocol.blocks import BlockHash, NetworkId
from protocol.codec import encode
from protocol.codes import ReceiveCode, check_code, decode_code, encode_code, verify_code
from protocol.errors import Code, Malformed, UserError
from protocol.keys import PublicKey, SigningKey
from protocol.transactions import SignedEnrolment
from protocol.wallet import cold_master, enrol, hot_master, next_key_hashes

NETWORK = NetworkId(bytes(range(32)))
OTHER_NETWORK = NetworkId(bytes(32))
CLINIC = SigningKey(bytes(32)).public
OTHER_CLINIC = SigningKey(bytes(31) + b"\1").public
NOT_AFTER_MS = 1_800_000_000_000
HOT = hot_master(bytes(32))
POOL = next_key_hashes(cold_master(bytes(32)), 0, 21)


def enrolment(
    index: int,
    *,
    issuer: PublicKey = CLINIC,
    not_after_ms: int = NOT_AFTER_MS,
    network: NetworkId = NETWORK,
) -> SignedEnrolment:
    return enrol(HOT, index, POOL[index], issuer, not_after_ms, network)


def receive_code(*enrolments: SignedEnrolment) -> ReceiveCode:
    given = enrolments or (enrolment(0), enrolment(1))
    return ReceiveCode(NETWORK, CLINIC, "clinic-a", 41, BlockHash(bytes(32)), given, b"known here as 16")


def usable_keys(
    code: ReceiveCode, *, now_ms: int = NOT_AFTER_MS, used: tuple[PublicKey, ...] = ()
) -> list[bytes]:
    found = check_code(code, network=NETWORK, clinic=CLINIC, now_ms=now_ms, used=lambda key: key in used)
    return [item.terms.owner_key for item in found]


def refusal(
    code: ReceiveCode, *, network: NetworkId = NETWORK, clinic: PublicKey = CLINIC, now_ms: int = 0
) -> str:
    with pytest.raises(UserError) as caught:
        check_code(code, network=network, clinic=clinic, now_ms=now_ms, used=lambda _: False)
    assert caught.value.code is Code.RECEIVE_CODE
    assert caught.value.hint
    return caught.value.message


def test_a_code_comes_back_as_it_was_made() -> None:
    code = receive_code()
    assert decode_code(encode_code(code)) == code


def test_the_largest_code_fits() -> None:
    many = tuple(enrolment(index) for index in range(limits.ENROLMENTS_PER_CODE_MAX))
    code = msgspec.structs.replace(receive_code(*many), clinic_name="ü" * limits.NAME_CHARS_MAX)
    assert decode_code(encode_code(code)) == code


def test_a_code_with_one_enrolment_fits_a_qr_code_that_a_telephone_reads() -> None:
    # QR version 20 at the lowest correction level holds 1249 alphanumeric characters.
    assert len(encode_code(receive_code(enrolment(0)))) <= 1249


def test_each_enrolment_of_a_fresh_code_is_usable_in_its_order() -> None:
    code = receive_code()
    assert usable_keys(code) == [item.terms.owner_key for item in verify_code(code)]


def test_what_was_used_or_has_expired_is_left_out() -> None:
    code = receive_code(enrolment(0), enrolment(1, not_after_ms=NOT_AFTER_MS - 1), enrolment(2))
    first, _, third = (item.terms.owner_key for item in verify_code(code))
    assert usable_keys(code) == [first, third]
    assert usable_keys(code, used=(first,)) == [third]


def test_a_code_for_another_network_says_so() -> None:
    assert refusal(receive_code(), network=OTHER_NETWORK) == "this receive code is for another network"


def test_a_code_for_another_clinic_names_it() -> None:
    message = refusal(receive_code(), clinic=OTHER_CLINIC)
    assert message.startswith("this receive code is for another clinic: clinic-a (")


def test_an_expired_code_says_so_and_lasts_to_its_last_millisecond() -> None:
    assert refusal(receive_code(), now_ms=NOT_AFTER_MS + 1) == "this receive code has expired"
    assert len(usable_keys(receive_code(), now_ms=NOT_AFTER_MS)) == 2


def test_a_code_used_up_says_so_even_when_it_has_expired_too() -> None:
    code = receive_code()
    keys = tuple(item.terms.owner_key for item in verify_code(code))
    with pytest.raises(UserError, match="this receive code was used already"):
        usable_keys(code, now_ms=NOT_AFTER_MS + 1, used=keys)


def _with_field(**fields: object) -> ReceiveCode:
    return msgspec.structs.replace(receive_code(), **fields)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _with_field(network=b"short", enrolments=(enrolment(0, network=NetworkId(b"short")),)),
        lambda: _with_field(checkpoint_hash=b"short"),
        lambda: _with_field(checkpoint_height=-1),
        lambda: _with_field(clinic=CLINIC[1:]),
        lambda: _with_field(clinic_name=""),
        lambda: _with_field(clinic_name="x" * (limits.NAME_CHARS_MAX + 1)),
        lambda: _with_field(clinic_name="\x1b[2J"),
        lambda: _with_field(enrolments=()),
        lambda: _with_field(enrolments=(enrolment(0),) * 2),
        lambda: receive_code(*map(enrolment, range(limits.ENROLMENTS_PER_CODE_MAX + 1))),
        lambda: _with_field(clinic=OTHER_CLINIC),
        lambda: receive_code(enrolment(0, issuer=OTHER_CLINIC)),
        lambda: receive_code(enrolment(0, network=OTHER_NETWORK)),
        lambda: receive_code(SignedEnrolment(enrolment(0).body, enrolment(1).signature)),
        lambda: receive_code(enrolment(0), enrol(HOT, 1, POOL[0], CLINIC, NOT_AFTER_MS, NETWORK)),
    ],
)
def test_a_code_that_no_honest_device_makes_is_refused(make: Callable[[], ReceiveCode]) -> None:
    code = make()
    with pytest.raises(Malformed):
        encode_code(code)
    with pytest.raises(UserError, match="this receive code is not valid") as caught:
        decode_code(wrap_code(CodeKind.RECEIVE, encode(code)))
    assert caught.value.code is Code.RECEIVE_CODE


def test_a_code_is_checked_before_it_is_used_also_when_it_was_never_text() -> None:
    forged = receive_code(SignedEnrolment(enrolment(0).body, bytes(64)))
    assert refusal(forged) == "this receive code is not valid"


def test_bytes_that_are_no_receive_code_are_refused_as_one() -> None:
    with pytest.raises(UserError, match="this receive code is not valid"):
        decode_code(wrap_code(CodeKind.RECEIVE, b"something else"))


def test_a_slip_in_the_text_is_told_from_a_bad_code() -> None:
    text = encode_code(receive_code())
    with pytest.raises(UserError) as caught:
        decode_code(text[:5] + text[6] + text[5] + text[7:])
    assert "mistake" in caught.value.hint
