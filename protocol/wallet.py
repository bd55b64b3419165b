"""The patient's wallet: every key of hers from 24 words.

The words are BIP-39's, and their 32 bytes of entropy are the root (not BIP-39's seed). Two masters come
from it by HKDF: the hot one lives on the device and gives owner keys and opening keys; the cold one
exists only while the words are typed in and gives next keys. A device stores the hot master and a pool
of next-key hashes, so a thief of it can share and stop sharing, and can never take a record away.

All keys are one-time: an index is used for one enrolment or one new generation of a token, in any
network, and never again. All derivation is hardened: no public key leads to another.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from mnemonic import Mnemonic

from protocol import limits
from protocol.errors import Code, UserError
from protocol.keys import OpeningKey, PublicKey, SigningKey, hkdf
from protocol.persons import PersonSecret
from protocol.sheets import SHEET_WORDS, is_sheets, join_sheets
from protocol.transactions import Enrolment, SignedEnrolment, next_key_hash, sign_enrolment

ENTROPY_BYTES: Final = 32
WORDS: Final = 24
_TRY_AGAIN: Final = "compare the words with your paper, one by one and in their order"


@dataclass(frozen=True, slots=True, repr=False)
class HotMaster:
    """Derives what grants, revokes and opens. 32 secret bytes."""

    secret: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ColdMaster:
    """Derives what transfers, rotates and erases. 32 secret bytes, never stored."""

    secret: bytes


def words_of(entropy: bytes) -> str:
    """The 24 words of 32 bytes of entropy, separated by spaces."""
    return _wordlist().to_mnemonic(_sized(entropy))


def entropy_of(words: str) -> bytes:
    """The 32 bytes of 24 words. Case and spacing do not matter; four letters of a word are enough. Three
    sheets that the words were split into are as good (`protocol.sheets`).

    Raises:
        UserError: WORDS: not 24 words, a word of another list, or a checksum that does not match. The
            message names places and never words.
    """
    wordlist = _wordlist()
    if is_sheets(words.split()):
        return _expected(join_sheets(words.lower().split()))
    typed = [wordlist.expand_word(word) for word in words.lower().split()]
    if len(typed) != WORDS:
        sheets = f", nor whole sheets of {SHEET_WORDS}" if len(typed) > SHEET_WORDS else ""
        raise _wrong_words(f"these are {len(typed)} words, not {WORDS}{sheets}")
    unknown = [str(place) for place, word in enumerate(typed, 1) if word not in wordlist.wordlist]
    if unknown:
        raise _wrong_words(f"not a word of the list: number {', '.join(unknown)}")
    try:
        return bytes(wordlist.to_entropy(typed))
    except ValueError as error:
        raise _wrong_words("each word is of the list, but together they are not anyone's words") from error


def hot_master(entropy: bytes, *, device: int = 0) -> HotMaster:
    """The hot master of the patient's device number `device`.

    The number rises when a device is lost: what the thief holds derives none of the new keys.
    """
    return HotMaster(hkdf(_sized(entropy), f"chartmesh/1/wallet/hot/{_index(device)}"))


def cold_master(entropy: bytes) -> ColdMaster:
    """The cold master: the same for every device."""
    return ColdMaster(hkdf(_sized(entropy), "chartmesh/1/wallet/cold"))


def wallet_id(hot: HotMaster) -> PublicKey:
    """What names the wallet to its owner. It signs nothing and leads to no other key."""
    return SigningKey(hkdf(hot.secret, "wallet-id")).public


def person_secret(first_device: HotMaster, person: int) -> PersonSecret:
    """The secret of person number `person`. It comes from the hot master of device 0 whatever device is
    used, so that her clinics know her by the same references after a phone was lost."""
    assert 0 <= person < limits.PERSONS_MAX, "a wallet has few persons, numbered from 0"
    return PersonSecret(hkdf(first_device.secret, f"person/{person}"))


def owner_key(hot: HotMaster, index: int) -> SigningKey:
    """The one-time key that owns a token: signs its enrolment, grants and revokes."""
    return SigningKey(hkdf(hot.secret, f"owner/{_index(index)}"))


def opening_key(hot: HotMaster, index: int) -> OpeningKey:
    """The one-time key to which the token's content key is sealed (`enc_key`)."""
    return OpeningKey(hkdf(hot.secret, f"opening/{_index(index)}"))


def next_key(cold: ColdMaster, index: int) -> SigningKey:
    """The one-time key to which a token is committed in advance: transfers, rotates and erases."""
    return SigningKey(hkdf(cold.secret, f"next/{_index(index)}"))


def next_key_hashes(cold: ColdMaster, first: int, count: int) -> tuple[bytes, ...]:
    """The pool a device keeps: the commitments to the next keys of `count` indices from `first` on."""
    return tuple(next_key_hash(next_key(cold, index).public) for index in range(first, first + count))


def enrol(
    hot: HotMaster,
    index: int,
    next_key_hash: bytes,
    issuer: PublicKey,
    not_after_ms: int,
    network: bytes,
) -> SignedEnrolment:
    """The patient's signed consent that `issuer` mints one record to the keys of `index`.

    `next_key_hash` is the pool's entry for the same index; `not_after_ms` is Unix time.
    """
    owner, opening = owner_key(hot, index), opening_key(hot, index)
    terms = Enrolment(issuer, owner.public, next_key_hash, opening.public, not_after_ms)
    return sign_enrolment(terms, owner, network)


@cache
def _wordlist() -> Mnemonic:
    # Read once from the package's own file on first use: 13 kB that never change.
    return Mnemonic("english")


def _sized(entropy: bytes) -> bytes:
    assert len(entropy) == ENTROPY_BYTES, "the wallet's entropy is 32 bytes"
    return entropy


def _expected(entropy: bytes) -> bytes:
    """What came of sheets that others made, too, may have another length."""
    if len(entropy) != ENTROPY_BYTES:
        raise _wrong_words("these sheets are not of a chartmesh wallet")
    return entropy


def _index(index: int) -> int:
    assert index >= 0, "a key index counts from 0"
    return index


def _wrong_words(message: str) -> UserError:
    return UserError(message, _TRY_AGAIN, code=Code.WORDS)
