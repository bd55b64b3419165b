"""Messages that wait for the consensus machine, with a share for each sender. No clock, no tasks."""

from collections import deque
from dataclasses import dataclass, field

from node.net.budget import TokenBucket
from protocol import limits
from protocol.keys import PublicKey
from protocol.messages.consensus import ConsensusMessage


@dataclass(frozen=True, slots=True)
class Letter:
    """A decoded message, who sent it, and its length on the wire."""

    sender: PublicKey
    message: ConsensusMessage
    size: int


@dataclass(slots=True)
class _Share:
    transactions: TokenBucket
    letters: deque[Letter] = field(default_factory=deque)
    size: int = 0


class Inbox:
    """What each sender has waiting, bounded in number and bytes, and taken in turn.

    Over its share a sender's newest messages are lost, and nobody else's: consensus sends again what
    matters. Times are elapsed ms.
    """

    def __init__(self) -> None:
        self._shares: dict[PublicKey, _Share] = {}

    def put(self, letter: Letter, now_ms: int) -> bool:
        """Whether there was room in the sender's share."""
        share = self._share(letter.sender, now_ms)
        if len(share.letters) >= limits.INBOX_MESSAGES_MAX:
            return False
        if share.letters and share.size + letter.size > limits.INBOX_BYTES_MAX:
            return False
        share.letters.append(letter)
        share.size += letter.size
        return True

    def may_forward(self, sender: PublicKey, count: int, now_ms: int) -> bool:
        """Whether a sender may pass on so many transactions now: each costs a signature to check."""
        return self._share(sender, now_ms).transactions.take(now_ms, count)

    def take(self) -> list[Letter]:
        """The oldest of each sender, in turn, so many at most that a turn stays short."""
        letters: list[Letter] = []
        for _ in range(limits.INBOX_TURN_MAX):
            before = len(letters)
            for share in self._shares.values():
                if share.letters:
                    letter = share.letters.popleft()
                    share.size -= letter.size
                    letters.append(letter)
            if len(letters) == before:
                break
        return letters

    @property
    def is_empty(self) -> bool:
        return not any(share.letters for share in self._shares.values())

    def _share(self, sender: PublicKey, now_ms: int) -> _Share:
        found = self._shares.get(sender)
        if found is None:
            bucket = TokenBucket(limits.FORWARDED_PER_MEMBER_PER_S, limits.FORWARDED_BURST, now_ms)
            found = self._shares[sender] = _Share(bucket)
        return found
