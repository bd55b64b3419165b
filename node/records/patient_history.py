"""One patient's records at this clinic, of all issuers: what it issued itself, and what is open to it now.

A granted record is there while `protocol.access` says that its grant counts, and after that it is as if it
had never been: no row, no count, no gap.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from node.chain.ledger import Ledger
from node.ports import Clock
from node.records.grants_inbox import GrantsInbox, HeldGrant
from node.records.issued import IssuedRecord, IssuedRecords
from node.records.patients import Patients
from protocol.access import Freshness, is_open
from protocol.grants import RecordLabel, SealedGrant
from protocol.keys import PublicKey
from protocol.transactions import TokenId


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of hers. `own` where this clinic issued it, `grant` the one that is open longest."""

    token: TokenId
    label: RecordLabel
    own: IssuedRecord | None
    grant: HeldGrant | None


class PatientHistory:
    """`identity` is this clinic's key. Its methods read the store: call them off the event loop."""

    def __init__(
        self,
        *,
        identity: PublicKey,
        ledger: Ledger,
        issued: IssuedRecords,
        inbox: GrantsInbox,
        patients: Patients,
        freshness: Callable[[], Freshness],
        clock: Clock,
    ) -> None:
        self._identity, self._ledger, self._issued = identity, ledger, issued
        self._inbox, self._patients, self._freshness, self._clock = inbox, patients, freshness, clock

    def entries(self, name: str) -> list[Entry]:
        """The newest first, by the time at which the issuer added it."""
        references = self._patients.references(name)
        found = {one.token: one for one in self._own(name, references)}
        for grant, box in self._open_grants(references):
            known = found.get(grant.token)
            if known is None:
                found[grant.token] = Entry(grant.token, box.label, None, grant)
            elif known.grant is None or known.grant.body.not_after_ms < grant.body.not_after_ms:
                found[grant.token] = Entry(grant.token, known.label, known.own, grant)
        return sorted(found.values(), key=lambda one: (one.label.time_ms, one.token), reverse=True)

    def tokens(self, name: str) -> set[TokenId]:
        """All that this clinic ever had of hers: for its own audit log."""
        references = self._patients.references(name)
        granted = {grant.token for grant, _ in self._inbox.of_patient(references)}
        return {token for token, _ in self._issued.of_patient(name, references)} | granted

    def is_fresh_for(self, entry: Entry) -> bool:
        """Whether the ledger here is as young as the entry's grant asks."""
        freshness = self._freshness()
        if not freshness.knows_time(self._ledger.state.limits.tolerance_ms):
            return False
        grant = entry.grant
        return grant is None or freshness.age_ms < 1000 * grant.body.max_stale_s

    def _own(self, name: str, references: set[bytes]) -> Iterator[Entry]:
        for token, own in self._issued.of_patient(name, references):
            state = self._ledger.state.token(token)
            if state is not None and not state.erased:
                yield Entry(token, own.label, own, None)

    def _open_grants(self, references: set[bytes]) -> Iterator[tuple[HeldGrant, SealedGrant]]:
        if not references:
            return
        now_ms = self._clock.wall_ms()
        for grant, box in self._inbox.of_patient(references):
            if is_open(
                grant.body,
                reader=self._identity,
                state=self._ledger.state,
                denied=self._ledger.denied,
                wall_ms=now_ms,
            ):
                yield grant, box
