"""Members come and go in the simulated world: changes begun by dice and seen through whatever happens.

The admins of honest validators approve: as many as a quorum needs, sometimes more. A change is submitted
again and again until some ledger says that it is in force, and with it what the cluster knows of its
validators and followers changes.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import trio

from node.chain.services import LedgerServices
from protocol.blocks import faults_of, network_id, quorum_of, sign_card
from protocol.codec import digest, encode
from protocol.errors import Rejected
from protocol.keys import PublicKey, SigningKey
from protocol.membership import (
    Admit,
    Approved,
    Promote,
    Remove,
    RotateVoteKey,
    Suspend,
    accept_terms,
)
from protocol.state import MemberState, Role
from protocol.transactions import approved_transaction, sign_body, sign_transaction
from tests.sim.clock import EPOCH_MS
from tests.sim.nodes import Cluster, SimNode

FAR_MS = EPOCH_MS + 10**9
PAUSE_S = (0.1, 2.0)
COMMITTEE = frozenset(("promote", "suspend", "remove"))
"""The changes of who votes."""


def admission(cluster: Cluster, node: SimNode) -> Admit:
    """The card of a clinic, and that it accepts the network's terms."""
    seat, terms = node.seat, cluster.genesis.terms_hash
    card = sign_card(seat.member(), seat.id_key, seat.vote_key)
    return Admit(card, terms, accept_terms(terms, seat.id_key, network_id(cluster.genesis)), FAR_MS)


def approved(cluster: Cluster, body: Approved, by: Sequence[SimNode]) -> bytes:
    """The transaction of a change that the admins of these clinics approve."""
    raw = encode(body)
    approvals = [sign_body(raw, node.seat.id_key, cluster.network_id) for node in by]
    return approved_transaction(body, approvals)


def rotation(cluster: Cluster, node: SimNode) -> tuple[bytes, SigningKey]:
    """The transaction by which a clinic changes its vote key, and the next key."""
    key = SigningKey(digest("sim-vote-again", node.seat.vote_key.public))
    body = RotateVoteKey(node.identity, key.public)
    return sign_transaction(body, (node.seat.id_key, key), cluster.network_id), key


class Changes:
    """The changes of one cluster. `leavers` are the seats that may be suspended or removed.

    One change of who votes is under way at a time, so that the traitors are never more than the f of the
    committee to come; admissions and rotations go on beside it. `made` counts what came into force.
    """

    def __init__(self, cluster: Cluster, leavers: Sequence[int]) -> None:
        self._cluster, self._leavers = cluster, frozenset(leavers)
        self._dice = cluster.world.dice("changes")
        self._submitted: list[bytes] = []
        self.under_way: dict[SimNode, str] = {}
        self.made: Counter[str] = Counter()

    def begin(self) -> None:
        """Begins a change that is possible now, if one is."""
        possible = self._possible()
        if possible:
            kind = self._dice.choice(list(possible))
            node = self._dice.choice(possible[kind])
            self.under_way[node] = kind
            self._cluster.world.trace.note("change", node.name, "", kind.encode())
            self._cluster.nursery.start_soon(self._see_through, kind, node)

    def misuse(self) -> None:
        """Asks for what must never come into force: a change that too few approve, or an old one again."""
        validators, dice, asked = self._cluster.validators, self._dice, list(self._submitted)
        too_few = dice.sample(validators, quorum_of(len(validators)) - 1)
        if too_few and not self._is_committee_changing:
            body = Remove(dice.choice(validators).identity, FAR_MS)
            asked.append(approved(self._cluster, body, too_few))
        if asked:
            self._cluster.nursery.start_soon(self._submit, dice.choice(asked))

    # Inside.

    @property
    def _is_committee_changing(self) -> bool:
        return not COMMITTEE.isdisjoint(self.under_way.values())

    def _possible(self) -> dict[str, list[SimNode]]:
        """The nodes to which each kind of change could happen now."""
        cluster = self._cluster
        idle = [node for node in cluster.nodes if node not in self.under_way]
        members = [node for node in idle if node in cluster.validators + cluster.followers]
        known = {*cluster.validators, *cluster.followers, *cluster.ended}
        kinds = {"admit": [node for node in idle if node not in known], "rotate": members}
        if not self._is_committee_changing:
            kinds["promote"] = [node for node in members if node in cluster.followers]
            kinds["suspend"] = kinds["remove"] = [node for node in members if self._may_end(node)]
        return {kind: nodes for kind, nodes in kinds.items() if nodes}

    def _may_end(self, node: SimNode) -> bool:
        left = [one for one in self._cluster.validators if one is not node]
        hostile = sum(one.seat.index in self._cluster.traitors for one in left)
        return node.seat.index in self._leavers and hostile <= faults_of(len(left))

    async def _see_through(self, kind: str, node: SimNode) -> None:
        raw, key = rotation(self._cluster, node) if kind == "rotate" else (b"", node.seat.vote_key)
        while not await self._is_in_force(kind, node, key.public):
            if kind != "rotate":
                raw = approved(self._cluster, self._body(kind, node), self._approvers())
            await self._submit(raw)
            await trio.sleep(self._dice.uniform(*PAUSE_S))
        self._submitted.append(raw)
        self._cluster.world.trace.note("changed", node.name, "", kind.encode())
        self._take_effect(kind, node, key)
        self.made[kind] += 1
        del self.under_way[node]

    def _body(self, kind: str, node: SimNode) -> Approved:
        match kind:
            case "admit":
                return admission(self._cluster, node)
            case "promote":
                return Promote(node.identity, FAR_MS)
            case "suspend":
                return Suspend(node.identity, "other", FAR_MS)
            case _:
                return Remove(node.identity, FAR_MS)

    def _approvers(self) -> list[SimNode]:
        honest = self._honest_validators()
        quorum = quorum_of(len(self._cluster.validators))
        return self._dice.sample(honest, self._dice.randint(quorum, len(honest)))

    def _honest_validators(self) -> list[SimNode]:
        traitors = self._cluster.traitors
        return [node for node in self._cluster.validators if node.seat.index not in traitors]

    async def _submit(self, raw: bytes) -> None:
        """Gives a transaction to one honest validator, which may be behind or down."""

        async def submit(services: LedgerServices) -> None:
            with suppress(Rejected):
                await services.submissions.submit(raw, b"", sender=b"admin")

        await self._dice.choice(self._honest_validators()).ask(submit)

    async def _is_in_force(self, kind: str, node: SimNode, key: PublicKey) -> bool:
        """Whether one honest validator's ledger says so."""

        async def look(services: LedgerServices) -> bool:
            member = services.ledger.state.member(node.identity)
            return member is not None and _says(member, kind, key)

        return bool(await self._dice.choice(self._honest_validators()).ask(look))

    def _take_effect(self, kind: str, node: SimNode, key: SigningKey) -> None:
        cluster = self._cluster
        match kind:
            case "admit":
                cluster.followers.append(node)
            case "promote":
                cluster.followers.remove(node)
                cluster.validators.append(node)
            case "rotate":
                node.rekey(key)
            case _:
                (cluster.validators if node in cluster.validators else cluster.followers).remove(node)
                cluster.ended.append(node)


def _says(member: MemberState, kind: str, key: PublicKey) -> bool:
    match kind:
        case "admit":
            return True
        case "promote":
            return member.role >= Role.VALIDATOR
        case "suspend":
            return member.role >= Role.SUSPENDED
        case "remove":
            return member.role == Role.REMOVED
        case _:
            return member.vote_key == key
