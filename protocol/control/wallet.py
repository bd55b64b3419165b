"""What the daemon answers about a patient's wallet: keys changed, found again, handed on.

The same rules hold as for all results (`protocol.control.results`).
"""

from protocol.control.results import Document, Item


class RekeyedItem(Item, frozen=True, kw_only=True):
    """A record whose new keys count at every clinic, if `final`."""

    token: str
    title: str
    final: bool


class LostPhoneResult(Document, frozen=True, kw_only=True):
    """`device` is the number of the device from now on; `kept` are the grants that live on."""

    device: int
    records: tuple[RekeyedItem, ...]
    kept: tuple[str, ...]


class RecoverResult(Document, frozen=True, kw_only=True):
    """`records` counts all that are this wallet's now, `grants` those that are live. Of `unreadable` ones
    nobody left the owner a copy that she can read: a thief may have made them."""

    device: int
    records: int
    grants: int = 0
    unreadable: int = 0


class KeysExportResult(Document, frozen=True, kw_only=True):
    """Either the 24 words, or the sheets of which any `needed` are as good."""

    words: str
    sheets: tuple[str, ...]
    needed: int

    def __repr__(self) -> str:
        return "KeysExportResult(…)"


class TakeCodeResult(Document, frozen=True, kw_only=True):
    """A code to be given one record with. Both sides compare the fingerprint."""

    code: str
    fingerprint: str
    not_after: str


class GiveResult(Document, frozen=True, kw_only=True):
    """What is given to whom; `gift` is empty where it was only looked at."""

    gift: str
    token: str
    title: str
    reason: str
    to_name: str
    to_fingerprint: str
    not_after: str


class TakeResult(Document, frozen=True, kw_only=True):
    """What is taken; ours if `final`."""

    token: str
    title: str
    media: str
    size: int
    reason: str
    final: bool


class WalletResult(Document, frozen=True, kw_only=True):
    """The wallet itself. `left` one-time keys can be given out before the 24 words are needed."""

    id: str
    fingerprint: str
    device: int
    used: int
    left: int
