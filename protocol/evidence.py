"""Evidence: two signed statements of one validator that no correct validator makes together.

It is portable: whoever has these bytes, and nothing else, can verify that the holder of one vote key
contradicted itself. Whose vote key it was in that epoch is for the ledger, or the genesis file, to say.
"""

from protocol import limits
from protocol.armour import unwrap, wrap
from protocol.blocks import NetworkId, Phase, Statement, is_statement, verify_statement
from protocol.codec import Wire, decode, encode
from protocol.errors import Malformed
from protocol.keys import NETWORK_ID_BYTES, PublicKey, is_public_key

_EVIDENCE_BYTES_MAX = 2 * limits.KIB


class Evidence(Wire, frozen=True):
    """Both signatures are of `vote_key`, each over the statement before it."""

    network: NetworkId
    vote_key: PublicKey
    first: Statement
    first_signature: bytes
    second: Statement
    second_signature: bytes

    @property
    def epoch(self) -> int:
        return self.first.epoch

    @property
    def view(self) -> int:
        return self.first.view


def contradict(first: Statement, second: Statement) -> bool:
    """Whether no correct validator signs both: two blocks in one phase of a view, or NULL and FINALIZE."""
    if (first.epoch, first.view) != (second.epoch, second.view):
        return False
    if first.phase == second.phase:
        return first.block != second.block
    return {first.phase, second.phase} == {Phase.NULL, Phase.FINALIZE}


def verify_evidence(evidence: Evidence) -> None:
    """Returns where `evidence` convicts its vote key.

    Raises:
        Malformed: not two statements, no contradiction, or a signature that is not of that key.
    """
    if len(evidence.network) != NETWORK_ID_BYTES or not is_public_key(evidence.vote_key):
        raise Malformed("evidence names no network or no vote key")
    first, second = evidence.first, evidence.second
    if not (is_statement(first) and is_statement(second) and contradict(first, second)):
        raise Malformed("the two statements do not contradict each other")
    for statement, signature in ((first, evidence.first_signature), (second, evidence.second_signature)):
        if not verify_statement(statement, signature, evidence.vote_key, evidence.network):
            raise Malformed("a statement is not signed by the vote key that the evidence names")


def decode_evidence(raw: bytes) -> Evidence:
    """The evidence of `raw`, verified. Raises Malformed."""
    evidence = decode(Evidence, raw, limit=_EVIDENCE_BYTES_MAX)
    verify_evidence(evidence)
    return evidence


def evidence_text(evidence: Evidence) -> str:
    """The evidence as a file in armour, for people to pass on."""
    return wrap("EVIDENCE", encode(evidence))


def read_evidence(text: str) -> Evidence:
    """The evidence of a file, verified. Raises Malformed."""
    return decode_evidence(unwrap("EVIDENCE", text))
