"""What one validator has signed, and may still sign: the rules that make a fork impossible.

Every method that signs writes the statement into `record` first. Whoever sends the returned vote must
have that record durable before. So what this key signed and the ballot does not remember was signed by
someone else: by a copy of this node, or by this node before it was put back from a copy.
"""

from protocol.blocks import NO_BLOCK, BlockHash, Committee, Phase, Statement, sign_statement
from protocol.codec import Wire
from protocol.errors import LocalProtocolError
from protocol.keys import SigningKey
from protocol.messages.consensus import Vote


class VoteRecord(Wire, frozen=True):
    """What a validator must not forget: the highest view it signed in, and what it signed there.

    `voted` is NO_BLOCK where it voted for no block of `view`. `finalized_view` and
    `finalized_block` are its newest FINALIZE statement, kept to be sent again.
    """

    epoch: int
    view: int
    voted: BlockHash
    nulled: bool
    finalized_view: int
    finalized_block: BlockHash


class Ballot:
    """One validator's statements in one epoch. Views never go back."""

    def __init__(self, committee: Committee, key: SigningKey, record: VoteRecord | None) -> None:
        index = committee.index(key.public)
        if index is None:
            raise LocalProtocolError("this key has no vote in the epoch")
        self.index = index
        self._committee, self._key = committee, key
        if record is None or record.epoch != committee.epoch:
            record = VoteRecord(committee.epoch, 0, NO_BLOCK, False, 0, NO_BLOCK)
        self.record = self._first = record
        self._signed: dict[tuple[int, Phase], BlockHash] = {}
        self._forgotten = 0

    def voted(self, view: int) -> BlockHash:
        """The block voted for in `view`, or NO_BLOCK."""
        return self.record.voted if self.record.view == view else NO_BLOCK

    def has_nulled(self, view: int) -> bool:
        return self.record.view == view and self.record.nulled

    def vote(self, view: int, block: BlockHash) -> Vote:
        """A vote for `block`: one block a view, and never in a view before one signed in."""
        if view < self.record.view or self.voted(view) not in (NO_BLOCK, block):
            raise LocalProtocolError("a second vote in a view, or a vote in a past view")
        self._write(view, voted=block, nulled=self.has_nulled(view))
        self._signed[view, Phase.VOTE] = block
        return self._sign(view, Phase.VOTE, block)

    def null(self, view: int) -> Vote:
        """A NULL vote: never in a view before one signed in, so never beside a FINALIZE."""
        if view < self.record.view:
            raise LocalProtocolError("a NULL vote in a past view")
        self._write(view, voted=self.voted(view), nulled=True)
        self._signed[view, Phase.NULL] = NO_BLOCK
        return self._sign(view, Phase.NULL, NO_BLOCK)

    def finalize(self, view: int, block: BlockHash) -> Vote:
        """FINALIZE for the block of a view that is over, without a NULL vote in it."""
        if self.has_nulled(view) or view < self.record.view:
            raise LocalProtocolError("FINALIZE beside a NULL vote, or in a past view")
        self.record = VoteRecord(self._committee.epoch, view + 1, NO_BLOCK, False, view, block)
        self._signed[view, Phase.FINALIZE] = block
        return self._sign(view, Phase.FINALIZE, block)

    def remembers(self, statement: Statement) -> bool:
        """Whether this ballot made a statement of its epoch, or may have in views that it forgot."""
        view, phase = statement.view, Phase(statement.phase)
        if view > self.record.view - (phase == Phase.FINALIZE):
            return False
        if view <= self._forgotten:
            return True
        if (view, phase) in self._signed:
            return self._signed[view, phase] == statement.block
        first = self._first
        if phase == Phase.FINALIZE:
            # Newer ones were written over older ones, so above the newest of them there was none.
            if view == first.finalized_view:
                return statement.block == first.finalized_block
            return view < first.finalized_view
        if view == first.view:
            return first.nulled if phase == Phase.NULL else statement.block == first.voted
        return view < first.view

    def forget_through(self, view: int) -> None:
        """Drops the memory of statements of `view` and before: they can no longer matter."""
        self._forgotten = max(view, self._forgotten)
        self._signed = {key: block for key, block in self._signed.items() if key[0] > view}

    def standing(self, view: int, after: int) -> list[Vote]:
        """The statements in force, signed again: FINALIZE of a view past `after`, those of `view`."""
        record, votes = self.record, list[Vote]()
        if record.finalized_view > after:
            votes.append(self._sign(record.finalized_view, Phase.FINALIZE, record.finalized_block))
        if self.has_nulled(view):
            votes.append(self._sign(view, Phase.NULL, NO_BLOCK))
        if self.voted(view) != NO_BLOCK:
            votes.append(self._sign(view, Phase.VOTE, record.voted))
        return votes

    def _write(self, view: int, *, voted: BlockHash, nulled: bool) -> None:
        old = self.record
        self.record = VoteRecord(
            self._committee.epoch, view, voted, nulled, old.finalized_view, old.finalized_block
        )

    def _sign(self, view: int, phase: Phase, block: BlockHash) -> Vote:
        signed = Statement(self._committee.epoch, view, int(phase), block)
        return Vote(signed, self.index, sign_statement(signed, self._key, self._committee.network))
