"""From one committee to the next: what shows it to whoever trusts the header that closes an epoch."""

from protocol import limits
from protocol.blocks import Committee, Header
from protocol.codec import Wire, decode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.state import ROSTER_ENTRY_KEY, LedgerState, RosterState, committee_of
from protocol.statemap import Proof, verify_proof


class Opening(Wire, frozen=True):
    """The roster after a block that closes its epoch, and its proof against that block's state root."""

    roster: bytes
    proof: Proof


def prove_opening(state: LedgerState) -> Opening:
    """The opening of the epoch that `state` is the first of."""
    raw = state.entries.get(ROSTER_ENTRY_KEY)
    if raw is None:
        raise LocalProtocolError("a state without a roster")
    return Opening(raw, state.entries.prove(ROSTER_ENTRY_KEY))


def verify_opening(closing: Header, opening: Opening) -> RosterState:
    """The roster of the epoch after that of `closing`, a final header.

    Raises:
        RemoteProtocolError: it is not proven, or not that of the next epoch.
    """
    if not verify_proof(closing.state_root, ROSTER_ENTRY_KEY, opening.roster, opening.proof):
        raise RemoteProtocolError("a roster that is not in the state")
    roster = decode(RosterState, opening.roster, limit=limits.STATE_ENTRY_BYTES_MAX)
    if roster.epoch != closing.epoch + 1 or not roster.validators:
        raise RemoteProtocolError("a roster that opens no epoch after this header's")
    return roster


def next_committee(closing: Header, opening: Opening) -> Committee:
    """The committee of the epoch after that of `closing`. Raises RemoteProtocolError."""
    return committee_of(verify_opening(closing, opening), closing.network)
