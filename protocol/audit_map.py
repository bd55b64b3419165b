"""The map over an audit log whose root is the audit head: what shows an owner that she sees everything.

For each token it has a fold over all records of that token, and under LAST_KEY the hash of the newest
record of all. So a clinic proves with a few hashes, and without showing what is about others, that a list
holds every record of a token up to a head, none changed and none left out; or that there is none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.audit import NO_RECORD, AuditRecord, record_hash
from protocol.codec import digest
from protocol.errors import RemoteProtocolError
from protocol.excerpt import Excerpt, take_excerpt, verify_excerpt
from protocol.statemap import StateMap
from protocol.transactions import TokenId

LAST_KEY = digest("audit-last")


class LogFlaw(StrEnum):
    """What is wrong with a log that a clinic shows."""

    CHANGED = "changed"  # entries are hidden, added or rewritten against a head of the clinic
    CUT = "cut"  # it is shorter than it was
    FORKED = "forked"  # it was another one before
    UNPROVEN = "unproven"  # the clinic does not show that it is what it posted


class FlawedLog(RemoteProtocolError):
    """A clinic's log is not what its head says, or not what it was."""

    def __init__(self, flaw: LogFlaw) -> None:
        super().__init__(f"the audit log is {flaw.value}")
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class LogHead:
    """The root of the map over the first `sequence` records of a log."""

    sequence: int
    root: bytes


@dataclass(frozen=True, slots=True)
class LogSeen:
    """What was shown of one token under a signed head: its first `count` records, and their fold."""

    head: LogHead
    count: int
    fold: bytes


class AuditMap:
    """Grows with a log; `fixed` is the map as it is now."""

    def __init__(self) -> None:
        self._map = StateMap.empty()
        self._new: dict[bytes, bytes] = {}

    def add(self, token: bytes, hashed: bytes) -> None:
        """The next record, by its token (or none) and its hash."""
        self._new[LAST_KEY] = hashed
        if token:
            key = token_key(TokenId(token))
            self._new[key] = _fold_one(self._new.get(key) or self._map.get(key) or NO_RECORD, hashed)

    def fixed(self) -> StateMap:
        self._map = self._map.update(self._new)
        self._new = {}
        return self._map


def token_key(token: TokenId) -> bytes:
    """Where a token's fold is."""
    return digest("audit-token", token)


def fold(records: Iterable[AuditRecord]) -> bytes:
    """The fold over all records of one token."""
    folded = NO_RECORD
    for record in records:
        folded = _fold_one(folded, record_hash(record))
    return folded


def show_log(entries: StateMap, tokens: Sequence[TokenId]) -> Excerpt:
    """What shows how much of each of `tokens` there is in the log under `entries`."""
    return take_excerpt(entries, [token_key(token) for token in tokens])


def verify_listing(
    tokens: Sequence[TokenId], records: Sequence[AuditRecord], head: LogHead, shown: Excerpt
) -> None:
    """That `records` up to `head` are all of `tokens` in the log under it, as they are there.

    Raises:
        FlawedLog: CHANGED, they are not shown to be.
    """
    keys = {token: token_key(token) for token in tokens}
    try:
        found = verify_excerpt(head.root, list(keys.values()), shown)
    except RemoteProtocolError as error:
        raise FlawedLog(LogFlaw.CHANGED) from error
    for token, key in keys.items():
        listed = [one for one in records if one.token == token and one.sequence <= head.sequence]
        if (fold(listed) if listed else None) != found[key]:
            raise FlawedLog(LogFlaw.CHANGED)


def verify_continued(seen: LogSeen, head: LogHead, records: Sequence[AuditRecord]) -> None:
    """That the log under `head`, with `records` of one token, goes on from what was `seen` of it before.

    Raises:
        FlawedLog: CUT or FORKED.
    """
    if head.sequence < seen.head.sequence:
        raise FlawedLog(LogFlaw.CUT)
    is_other = head.sequence == seen.head.sequence and head.root != seen.head.root
    if is_other or fold(records[: seen.count]) != seen.fold:
        raise FlawedLog(LogFlaw.FORKED)


def _fold_one(folded: bytes, hashed: bytes) -> bytes:
    return digest("audit-fold", folded, hashed)
