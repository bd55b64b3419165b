"""What the daemon answers about the membership of the network and the keys of a clinic.

The same rules hold as for all results (`protocol.control.results`).
"""

from protocol.control.results import Document, Item


class MemberItem(Item, frozen=True, kw_only=True):
    """`role` is `validator`, `follower`, `suspended` or `removed`; `votes` whether it sits on the
    committee. `last_height` is the newest final height that the member is known to hold, `last_seen`
    when it was heard of last, `software` what it says that it runs. `evidence` says how it
    contradicted itself, and is empty where it did not.
    """

    id: str
    name: str
    role: str
    reachable: bool
    last_height: int | None
    is_self: bool = False
    votes: bool = False
    software: str = ""
    last_seen: str | None = None
    evidence: str = ""
    vote_key: str = ""


class ChangeItem(Item, frozen=True, kw_only=True):
    """A change that waits: `act` is `admit`, `promote`, `suspend` or `remove`. `approvals` of the
    `needed` are there; `approved_by` are the ids of those who gave them, `sponsor` who brought it up."""

    change: str
    act: str
    member: str
    name: str
    approvals: int
    needed: int
    expires: str
    approved_by: tuple[str, ...] = ()
    is_approved_here: bool = False
    sponsor: str = ""
    reason: str = ""


class MembersResult(Document, frozen=True, kw_only=True):
    """`pending` are the changes that wait for approvals."""

    members: tuple[MemberItem, ...]
    pending: tuple[ChangeItem, ...] = ()


class NetworkJoinResult(Document, frozen=True, kw_only=True):
    """`joined` is False while the request waits for approvals: `approvals` of `quorum` are there."""

    network: str
    name: str
    members: int
    quorum: int
    joined: bool
    approvals: int = 0


class NetworkChangeResult(Document, frozen=True, kw_only=True):
    """What became of a change after it was approved here, and the members after it. `final` once it is
    on the ledger."""

    change: ChangeItem
    final: bool
    members: tuple[MemberItem, ...]
    pending: tuple[ChangeItem, ...] = ()


class NetworkInviteResult(Document, frozen=True, kw_only=True):
    code: str
    network: str
    name: str
    expires: str
    checkpoint_height: int


class NetworkInvitationResult(Document, frozen=True, kw_only=True):
    """The network that an invitation leads to. `terms` is the text whose hash is accepted by joining."""

    network: str
    name: str
    inviter: str
    expires: str
    founders: tuple[str, ...]
    terms: str
    terms_hash: str


class EvidenceItem(Item, frozen=True, kw_only=True):
    """`text` is the evidence in armour, which anyone can verify; `member` is empty where the key is of
    nobody known."""

    member: str
    name: str
    vote_key: str
    epoch: int
    view: int
    text: str


class NetworkEvidenceResult(Document, frozen=True, kw_only=True):
    """`two_chains` is the proof, in armour, for which this node has stopped; empty where it runs."""

    evidence: tuple[EvidenceItem, ...]
    two_chains: str = ""


class KeysResult(Document, frozen=True, kw_only=True):
    """Public halves and their fingerprints. `generation` counts vote keys; `is_rotating` while a new one
    is not yet final, and `final` once it is."""

    id: str
    fingerprint: str
    vote_key: str
    vote_fingerprint: str
    generation: int
    is_protected: bool
    is_rotating: bool = False
    final: bool = True
