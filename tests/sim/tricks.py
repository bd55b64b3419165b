"""What a traitor makes of one message on its way to one peer: the messages that leave instead."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.blocks import Phase, block_hash
from protocol.keys import PublicKey
from protocol.messages.consensus import ConsensusMessage, Proposal, Relay, Vote

if TYPE_CHECKING:
    from tests.sim.traitors import Traitor

Messages = Sequence[ConsensusMessage]
Twist = Callable[["Traitor", PublicKey, ConsensusMessage], Messages]


def view_of(message: ConsensusMessage) -> int:
    """The view that a message is about; 0 where it is about none."""
    match message:
        case Proposal(block):
            return block.header.view
        case Vote(statement):
            return statement.view
        case Relay(certificate):
            return certificate.statement.view
        case _:
            return 0


def epoch_of(message: ConsensusMessage) -> int:
    """The epoch that a message is about; 0 where it is about none."""
    match message:
        case Proposal(block):
            return block.header.epoch
        case Vote(statement):
            return statement.epoch
        case Relay(certificate):
            return certificate.statement.epoch
        case _:
            return 0


def two_blocks(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    if not isinstance(message, Proposal):
        return [message]
    twin = traitor.twin(message)
    if traitor.one_in(4):
        return [message, twin]
    return [message if traitor.is_near(peer) else twin]


def vote_for_all(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    if isinstance(message, Proposal):
        return two_blocks(traitor, peer, message)
    if isinstance(message, Vote):
        return [message, *traitor.votes_for_all(view_of(message), epoch_of(message))]
    return [message]


def half(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [message] if traitor.is_near(peer) else []


def mute(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [] if isinstance(message, Vote | Proposal) else [message]


def choosy(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [message] if traitor.one_in(2) else []


def old_views(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [message, *traitor.earlier()] if traitor.one_in(4) else [message]


def stale(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    old = traitor.stale()
    if isinstance(message, Proposal):
        return [replace(message, parent=old, nullifications=())]
    return [Relay(old)] if isinstance(message, Relay) and old is not None else [message]


def wrong_root(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    if not isinstance(message, Proposal):
        return [message]
    header = message.block.header
    return [traitor.propose(message, replace(header, state_root=block_hash(header)))]


def bad_transaction(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [traitor.bad_block(message) if isinstance(message, Proposal) else message]


def forge(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [message, *traitor.forged(message)] if isinstance(message, Vote | Proposal) else [message]


def mix_epochs(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    """The same said of the epochs before and after, and what was certified long ago."""
    if not isinstance(message, Vote) or not traitor.is_near(peer):
        return [message]
    said, old = message.statement, traitor.stale()
    others = [max(0, said.epoch - 1), said.epoch + 1]
    votes = [traitor.vote(said.view, Phase(said.phase), said.block, epoch) for epoch in others]
    return [message, *votes, *([] if old is None else [Relay(old)])]


def honest(traitor: "Traitor", peer: PublicKey, message: ConsensusMessage) -> Messages:
    return [message]


TWISTS: dict[str, Twist] = {
    "two_blocks": two_blocks,
    "vote_for_all": vote_for_all,
    "half": half,
    "mute": mute,
    "choosy": choosy,
    "old_views": old_views,
    "stale": stale,
    "wrong_root": wrong_root,
    "bad_transaction": bad_transaction,
    "forge": forge,
    "lie_on_streams": honest,
    "mix_epochs": mix_epochs,
}
