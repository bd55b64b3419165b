"""Splits a patient's 24 words into sheets of paper; `protocol.sheets` joins them again."""

from shamir_mnemonic import generate_mnemonics

from protocol.sheets import SHEETS, SHEETS_NEEDED


def split_words(entropy: bytes) -> tuple[str, ...]:
    """Five sheets of the 32 bytes behind the words, other ones each time."""
    [sheets] = generate_mnemonics(1, [(SHEETS_NEEDED, SHEETS)], entropy)
    return tuple(sheets)
