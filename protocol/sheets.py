"""A patient's 24 words as five sheets of paper, of which any three are as good as the words.

The sheets are SLIP-39's: 33 words each, with a checksum, of the 32 bytes behind the words. Two of them tell
nothing. To make them takes randomness (`node.sheets`); to join them takes none.
"""

from typing import Final

from shamir_mnemonic import MnemonicError, Share, combine_mnemonics

from protocol.errors import Code, UserError

SHEETS: Final = 5
SHEETS_NEEDED: Final = 3
SHEET_WORDS: Final = 33
_LOOK: Final = "compare them with your paper, one by one and in their order"


def is_sheets(typed: list[str]) -> bool:
    """Whether this many words are sheets, one after the other."""
    return bool(typed) and len(typed) % SHEET_WORDS == 0


def join_sheets(typed: list[str]) -> bytes:
    """The 32 bytes behind the words of three sheets, given one after the other; more are not looked at.

    Raises:
        UserError: WORDS: too few sheets, a slip in one, one given twice, or sheets of different splits.
    """
    sheets = [" ".join(typed[at : at + SHEET_WORDS]) for at in range(0, len(typed), SHEET_WORDS)]
    if len(sheets) < SHEETS_NEEDED:
        raise _no_sheets(
            f"{len(sheets)} of the sheets are not enough: it takes {SHEETS_NEEDED}", "look for another"
        )
    for place, sheet in enumerate(sheets[:SHEETS_NEEDED], 1):
        try:
            Share.from_mnemonic(sheet)
        except MnemonicError as error:
            raise _no_sheets(f"sheet number {place} has a slip in it", _LOOK) from error
    try:
        return combine_mnemonics(sheets[:SHEETS_NEEDED])
    except MnemonicError as error:
        raise _no_sheets(
            "these sheets do not belong together", "take three different ones of the same five"
        ) from error


def _no_sheets(message: str, hint: str) -> UserError:
    return UserError(message, hint, code=Code.WORDS)
