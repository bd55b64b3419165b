"""What `init` asks a person at a terminal."""

import getpass
import sys
from typing import Final

from node.ports import Entropy
from protocol.errors import Code, UserError

WORDS_ASKED_BACK: Final = 3
_WORDS_PER_ROW: Final = 6


def is_person_there() -> bool:
    """Whether someone can read what is printed and answer it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask_new_passphrase() -> bytes:
    """A new passphrase, typed twice.

    Raises:
        UserError: USAGE, where nobody is there to type it; WRONG_PASSPHRASE, where it is empty or the
            two differ.
    """
    if not sys.stdin.isatty():
        raise UserError(
            "the keys need a passphrase, and nobody is here to type it",
            "give --passphrase-file, or --insecure-no-passphrase to keep the keys in the clear",
            code=Code.USAGE,
        )
    first = getpass.getpass("New passphrase: ")
    if not first:
        raise UserError(
            "the passphrase is empty",
            "type one, or give --insecure-no-passphrase to keep the keys in the clear",
            code=Code.WRONG_PASSPHRASE,
        )
    if first != getpass.getpass("The same again: "):
        raise UserError("the two are not the same", "run it again", code=Code.WRONG_PASSPHRASE)
    return first.encode()


def show_words(words: str, entropy: Entropy) -> None:
    """Shows the words once and asks some of them back, so that they are on paper before they are gone."""
    listed = words.split()
    print("Write these 24 words on paper. They are shown once, and whoever has them has your records.\n")
    for row in range(0, len(listed), _WORDS_PER_ROW):
        some = enumerate(listed[row : row + _WORDS_PER_ROW], row + 1)
        print("  ".join(f"{place:2} {word:10}" for place, word in some).rstrip())
    places: set[int] = set()
    while len(places) < WORDS_ASKED_BACK:
        places.add(entropy.below(len(listed)))
    for place in sorted(places):
        while _answer(f"\nWord number {place + 1}: ") != listed[place]:
            print("That is not it. Look at your paper.")


def _answer(question: str) -> str:
    try:
        return input(question).strip().lower()
    except EOFError as error:
        raise UserError(
            "the words were not confirmed, so nothing was made", "run it again", code=Code.WORDS
        ) from error
