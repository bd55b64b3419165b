"""The 24 words on five sheets: any three are the words, two are nothing."""

from itertools import combinations

import pytest

from node.sheets import split_words
from protocol.errors import Code, UserError
from protocol.sheets import SHEET_WORDS, SHEETS, SHEETS_NEEDED
from protocol.wallet import entropy_of

ENTROPY = bytes(range(32))


@pytest.fixture(scope="module")
def sheets() -> tuple[str, ...]:
    return split_words(ENTROPY)


def refusal(text: str) -> str:
    with pytest.raises(UserError) as wrong:
        entropy_of(text)
    assert wrong.value.code is Code.WORDS
    assert wrong.value.hint
    return wrong.value.message


def test_any_three_sheets_are_as_good_as_the_words(sheets: tuple[str, ...]) -> None:
    assert len(sheets) == SHEETS
    assert {len(sheet.split()) for sheet in sheets} == {SHEET_WORDS}
    for some in combinations(sheets, SHEETS_NEEDED):
        assert entropy_of("\n".join(some)) == ENTROPY
    assert entropy_of(" ".join(sheets).upper()) == ENTROPY


def test_fewer_are_refused(sheets: tuple[str, ...]) -> None:
    for count in (1, 2):
        for some in combinations(sheets, count):
            assert "not enough" in refusal(" ".join(some))


def test_a_word_left_out_of_a_sheet_is_told(sheets: tuple[str, ...]) -> None:
    words = " ".join(sheets[:SHEETS_NEEDED]).split()
    assert refusal(" ".join(words[1:])) == "these are 98 words, not 24, nor whole sheets of 33"


def test_two_sheets_and_a_copy_of_one_are_two(sheets: tuple[str, ...]) -> None:
    assert "belong together" in refusal(" ".join((sheets[0], sheets[1], sheets[0])))


def test_sheets_of_two_splits_do_not_go_together(sheets: tuple[str, ...]) -> None:
    others = split_words(ENTROPY)
    assert not set(others) & set(sheets)
    assert "belong together" in refusal(" ".join((sheets[0], sheets[1], others[2])))


def test_a_slip_names_its_sheet_and_no_word(sheets: tuple[str, ...]) -> None:
    for spoilt in range(SHEETS_NEEDED):
        words = " ".join(sheets[:SHEETS_NEEDED]).split()
        words[spoilt * SHEET_WORDS + 20] = "zzzz"
        message = refusal(" ".join(words))
        assert f"sheet number {spoilt + 1}" in message
        assert "zzzz" not in message
    # A word of the list in the place of another is noticed by the checksum.
    words = sheets[0].split()
    words[20] = "acid" if words[20] != "acid" else "acne"
    assert "sheet number 1" in refusal(" ".join((" ".join(words), *sheets[1:3])))


def test_sheets_of_something_else_are_no_wallet() -> None:
    foreign = split_words(bytes(28))
    with pytest.raises(UserError):
        entropy_of(" ".join(foreign[:SHEETS_NEEDED]))
