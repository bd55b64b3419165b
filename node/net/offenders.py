"""Who misbehaved lately, and who is kept out for it. No clock, no tasks.

An offender is an identity key, or the address of whoever never said who it is. Every offence costs the
offender its connection; `OFFENCES_MAX` of them in `OFFENCE_WINDOW_MS` keep it out for a while. A member is
kept out for a shorter one: it may have been restored from a backup, and its vote is missed.
"""

import math
from dataclasses import dataclass

from node.net.budget import TokenBucket
from protocol import limits
from protocol.errors import ChartmeshError
from protocol.keys import PublicKey

REASON_CHARS_MAX = 120
BLOCKED_BY_HAND = "blocked by this clinic's administrator"

Offender = PublicKey | str
"""An identity key, or a host address as text."""


@dataclass(frozen=True, slots=True)
class Offence:
    """The newest offence of one offender, as `peers` shows it. Times are Unix ms.

    `id_key` is None where only an address is known; `count` is of all offences still remembered;
    `blocked_until_ms` is None unless it is kept out now.
    """

    id_key: PublicKey | None
    address: str
    reason: str
    count: int
    last_ms: int
    blocked_until_ms: int | None


@dataclass(slots=True)
class _Record:
    address: str
    is_member: bool
    bucket: TokenBucket
    reason: str = ""
    count: int = 0
    last_ms: int = 0  # elapsed
    blocked_until_ms: float = 0  # elapsed; infinite is for ever


class Offenders:
    """Offences by offender. Times are elapsed ms. At the bound the oldest are forgotten, strangers
    before members, and those who may come in before those who may not."""

    def __init__(self) -> None:
        self._records: dict[Offender, _Record] = {}

    def note(
        self,
        who: Offender,
        reason: str,
        now_ms: int,
        *,
        address: str,
        is_member: bool,
        may_block: bool = True,
    ) -> bool:
        """Counts an offence; whether `who` is kept out from now on."""
        record = self._record(who, now_ms, is_member)
        record.address, record.reason = address or record.address, reason
        record.count += 1
        record.last_ms = now_ms
        if may_block and not record.bucket.take(now_ms):
            block_ms = limits.MEMBER_BLOCK_MS if is_member else limits.BLOCK_MS
            record.blocked_until_ms = max(record.blocked_until_ms, now_ms + block_ms)
            record.bucket = _bucket(now_ms)
        return record.blocked_until_ms > now_ms

    def block(self, who: Offender, now_ms: int, until_ms: float, *, is_member: bool) -> None:
        """Keeps `who` out until then, by hand."""
        record = self._record(who, now_ms, is_member)
        record.reason, record.last_ms, record.blocked_until_ms = BLOCKED_BY_HAND, now_ms, until_ms

    def forgive(self, who: Offender) -> None:
        """Forgets all offences of `who`."""
        self._records.pop(who, None)

    def is_blocked(self, who: Offender, now_ms: int) -> bool:
        record = self._records.get(who)
        return record is not None and record.blocked_until_ms > now_ms

    def offences(self, now_ms: int, wall_ms: int) -> list[Offence]:
        """All that are remembered, the newest first; `wall_ms` is `now_ms` as Unix time."""
        shift_ms = wall_ms - now_ms
        return [
            Offence(
                id_key=None if isinstance(who, str) else who,
                address=record.address,
                reason=record.reason,
                count=record.count,
                last_ms=record.last_ms + shift_ms,
                blocked_until_ms=_until(record, now_ms, shift_ms),
            )
            for who, record in sorted(self._records.items(), key=lambda item: -item[1].last_ms)
        ]

    def _record(self, who: Offender, now_ms: int, is_member: bool) -> _Record:
        found = self._records.get(who)
        if found is None:
            found = self._records[who] = _Record(
                who if isinstance(who, str) else "", is_member, _bucket(now_ms), last_ms=now_ms
            )
            if len(self._records) > limits.OFFENDERS_MAX:
                self._forget_one(who, now_ms)
        return found

    def _forget_one(self, but: Offender, now_ms: int) -> None:
        def weight(who: Offender) -> tuple[bool, bool, int]:
            record = self._records[who]
            return record.is_member, record.blocked_until_ms > now_ms, record.last_ms

        del self._records[min((who for who in self._records if who != but), key=weight)]


def reason_of(error: Exception) -> str:
    """What to tell people of a peer's mistake: our own words, and nothing that the peer could choose."""
    text = error.message if isinstance(error, ChartmeshError) else type(error).__name__
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return plain[:REASON_CHARS_MAX]


def _bucket(now_ms: int) -> TokenBucket:
    rate_per_s = 1000 * limits.OFFENCES_MAX / limits.OFFENCE_WINDOW_MS
    return TokenBucket(rate_per_s, limits.OFFENCES_MAX - 1, now_ms)


def _until(record: _Record, now_ms: int, shift_ms: int) -> int | None:
    if record.blocked_until_ms <= now_ms:
        return None
    if math.isinf(record.blocked_until_ms):
        return 2**53
    return int(record.blocked_until_ms) + shift_ms
