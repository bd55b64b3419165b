"""Which purpose covers which."""

import pytest

from protocol.errors import Code, UserError
from protocol.purposes import _TABLE, _WORDS, covers, display, is_purpose, purpose_code

TOPS = {"TREAT", "HPAYMT", "HOPERAT", "HRESCH", "PATRQT", "PUBHLTH", "HMARKT"}


def test_the_table_is_one_forest_of_known_codes() -> None:
    assert {code for code, (above, _) in _TABLE.items() if not above} == TOPS
    assert len(_TABLE) == 59
    for start in _TABLE:
        code, steps = start, 0
        while code:
            code, steps = _TABLE[code][0], steps + 1
            assert steps < 5
    assert all(name for _, name in _TABLE.values())


@pytest.mark.parametrize("code", sorted(_TABLE))
def test_every_code_covers_itself_and_its_absence_covers_nothing(code: str) -> None:
    assert covers([code], code)
    assert not covers([], code)


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ("TREAT", "COC"),
        ("TREAT", "ETREAT"),
        ("TREAT", "ERTREAT"),
        ("ETREAT", "ERTREAT"),
        ("TREAT", "POPHLTH"),
        ("HPAYMT", "COVERAGE"),
        ("HPAYMT", "ELIGVER"),
        ("HRESCH", "CLINTRCHPC"),
        ("PATRQT", "PWATRNY"),
    ],
)
def test_a_purpose_covers_those_below_it_and_not_those_above(granted: str, asked: str) -> None:
    assert covers([granted], asked)
    assert not covers([asked], granted)


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ("TREAT", "BTG"),
        ("ETREAT", "BTG"),
        ("TREAT", "CLINTRL"),
        ("HRESCH", "CLINTRL"),
        ("TREAT", "HRESCH"),
        ("HRESCH", "TREAT"),
        ("ERTREAT", "BTG"),
        ("BTG", "TREAT"),
        ("HOPERAT", "HMARKT"),
        ("HPAYMT", "HOPERAT"),
    ],
)
def test_neither_overrides_nor_trials_nor_other_branches_are_covered(granted: str, asked: str) -> None:
    assert not covers([granted], asked)


def test_any_of_several_granted_purposes_is_enough() -> None:
    assert covers(["HPAYMT", "TREAT"], "COC")
    assert covers(["BTG", "TREAT"], "BTG")
    assert not covers(["HPAYMT", "TREAT"], "HRESCH")


@pytest.mark.parametrize("code", ["", "treat", "TREATMENT", "PurposeOfUse", "X" * 100, "\x1b[31m"])
def test_an_unknown_code_is_an_error_on_either_side(code: str) -> None:
    assert not is_purpose(code)
    for granted, asked in (([code], "TREAT"), (["TREAT"], code)):
        with pytest.raises(UserError) as caught:
            covers(granted, asked)
        assert caught.value.code == Code.PURPOSE
        assert "treatment" in caught.value.hint
        assert "\x1b" not in caught.value.message


def test_words_and_codes_in_any_case_are_understood() -> None:
    assert purpose_code("treatment") == purpose_code(" Treat ") == purpose_code("TREAT") == "TREAT"
    assert purpose_code("research") == "HRESCH"
    assert purpose_code("Public health") == "PUBHLTH"
    assert purpose_code("insurance") == "COVERAGE"
    assert all(is_purpose(code) for code in _WORDS.values())


@pytest.mark.parametrize("text", ["", "  ", "curiosity", "TREAT HRESCH"])
def test_other_text_is_refused_with_what_can_be_said(text: str) -> None:
    with pytest.raises(UserError) as caught:
        purpose_code(text)
    assert caught.value.code == Code.PURPOSE
    assert caught.value.hint


def test_codes_have_names_for_people() -> None:
    assert display("TREAT") == "treatment"
    assert display("BTG") == "break the glass"
