"""Evidence against members: found here or told by others, verified, kept for good and passed on."""

from collections.abc import Callable

from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.codec import decode, encode
from protocol.evidence import Evidence, verify_evidence
from protocol.keys import PublicKey

_EVIDENCE_BYTES_MAX = 2 * limits.KIB


class Accusations:
    """At most one for each vote key: one contradiction convicts. `owner_of` names whose key it is, None
    for a key that no member ever had, of which nothing is kept."""

    def __init__(self, store: Store, owner_of: Callable[[PublicKey], PublicKey | None]) -> None:
        self._store, self._owner_of = store, owner_of
        self._kept: dict[PublicKey, Evidence] = {}
        for _, raw in store.iterate(layout.EVIDENCE):
            evidence = decode(Evidence, raw, limit=_EVIDENCE_BYTES_MAX)
            self._kept[evidence.vote_key] = evidence

    def all(self) -> list[Evidence]:
        """By vote key."""
        return [self._kept[key] for key in sorted(self._kept)]

    def against(self, member: PublicKey) -> list[Evidence]:
        """Those against any vote key that this member has or had."""
        return [item for item in self.all() if self._owner_of(item.vote_key) == member]

    def owner_of(self, evidence: Evidence) -> PublicKey | None:
        return self._owner_of(evidence.vote_key)

    def add(self, evidence: Evidence) -> bool:
        """Keeps what convicts a member and was not known; whether it was news.

        Raises:
            Malformed: it convicts nobody.
        """
        if evidence.vote_key in self._kept:
            return False
        verify_evidence(evidence)
        if self._owner_of(evidence.vote_key) is None:
            return False
        self._store.write([(layout.evidence(evidence.vote_key), encode(evidence))], sync=True)
        self._kept[evidence.vote_key] = evidence
        return True
