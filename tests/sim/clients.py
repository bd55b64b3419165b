"""The workload: clients who submit once, wait however long it takes, and remember what they were told.

A client never signs or submits anything again that a node accepted: what was accepted must become
final by itself, through every crash. What a node said is final is held against all nodes in the end.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from node.chain.services import LedgerServices
from protocol.codec import digest
from protocol.errors import Rejected, Rejection
from protocol.keys import SigningKey
from protocol.messages.consensus import Submission
from protocol.transactions import GrantId, TransactionId, transaction_id
from tests.sim.nodes import Cluster, SimNode
from tests.sim.patients import Patient, grant, mint, revoke
from tests.sim.world import Violation

PAUSE_S = 0.5


@dataclass
class Told:
    """What clients were told, by transaction: accepted, and final at a height."""

    accepted: dict[TransactionId, str] = field(default_factory=dict)
    final: dict[TransactionId, int] = field(default_factory=dict)

    @property
    def waiting(self) -> list[TransactionId]:
        """What was accepted and is not known to be final."""
        return [name for name in self.accepted if name not in self.final]


class Client:
    """One patient after another: a record minted, shared a few times, and no longer shared.

    It trusts honest nodes alone: a traitor may accept a transaction and keep it.
    """

    def __init__(
        self,
        cluster: Cluster,
        dice: random.Random,
        told: Told,
        *,
        asks: Sequence[SimNode] | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`asks` are the nodes that it submits to; None for all honest ones. `pause_s` is about how long
        it waits before each transaction."""
        self._cluster, self._dice, self._told, self._pause_s = cluster, dice, told, pause_s
        self._asks = cluster.honest() if asks is None else asks
        self.is_done = False

    async def run(self) -> None:
        """Until `stop`; then ends with the transaction that is under way."""
        while not self.is_done:
            await self._one_patient()

    def stop(self) -> None:
        self.is_done = True

    async def _one_patient(self) -> None:
        dice, network = self._dice, self._cluster.network_id
        patient = Patient.of(dice)
        issuer: SigningKey = dice.choice(self._asks).seat.id_key
        minted = mint(patient, issuer, network, dice)
        await self._make_final(minted)
        for _ in range(dice.randint(1, 3)):
            grant_id = GrantId(digest("sim-grant", dice.randbytes(32)))
            await self._make_final(grant(patient, minted, grant_id, network, dice))
            if dice.random() < 0.7:
                await self._make_final(revoke(patient, minted, grant_id, network))

    async def _make_final(self, submission: Submission) -> None:
        if self.is_done:
            return
        await trio.sleep(self._dice.random() * 2 * self._pause_s)
        name = transaction_id(submission.transaction)
        while not await self._submit(name, submission):  # noqa: ASYNC110
            await trio.sleep(self._dice.random() * 2 * PAUSE_S)
        while name not in self._told.final:
            await trio.sleep(PAUSE_S)
            await self._look(name, self._any_node())

    async def _submit(self, name: TransactionId, submission: Submission) -> bool:
        """Whether a node took it; it also counts as taken where it is final by now."""
        node = self._any_node()
        if node is None:
            return False

        async def submit(services: LedgerServices) -> bool:
            await services.submissions.submit(submission.transaction, submission.sealed, sender=b"client")
            return True

        try:
            accepted = await node.ask(submit)
        except Rejected as rejected:
            return await self._is_final_already(name, rejected, node)
        if accepted:
            self._told.accepted[name] = node.name
        return bool(accepted)

    async def _is_final_already(self, name: TransactionId, rejected: Rejected, node: SimNode) -> bool:
        """A refusal is right for what is final by now, and from a node that is behind."""
        await self._look(name, node)
        if name in self._told.final:
            return True
        if rejected.reason != Rejection.UNKNOWN_TOKEN:
            raise Violation("L9", f"{node.name} refused an honest transaction: {rejected.reason}")
        return False

    async def _look(self, name: TransactionId, node: SimNode | None) -> None:
        """Asks a node whether the transaction is final."""

        async def position(services: LedgerServices) -> tuple[int, int] | None:
            return services.ledger.position(name)

        place = None if node is None else await node.ask(position)
        if place is not None:
            self._told.final.setdefault(name, place[0])

    def _any_node(self) -> SimNode | None:
        up = [node for node in self._asks if node.is_up]
        return self._dice.choice(up) if up else None
