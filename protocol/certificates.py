"""The certificates since the last final block, and what they allow a block to extend."""

from collections.abc import Callable

from protocol.blocks import BlockHash, Certificate, Header, Phase, block_hash
from protocol.messages.consensus import NULLIFICATIONS_MAX


class Certificates:
    """Verified certificates by view, above the root: the newest final block known to have its chain.

    A view may have both a notarization and a nullification, but never a nullification and a
    finalization.
    """

    def __init__(self, root: Header, certificate: Certificate | None) -> None:
        self._notarized: dict[int, Certificate] = {}
        self._nullified: dict[int, Certificate] = {}
        self.unresolved: Certificate | None = None
        self.set_root(root, certificate)

    def set_root(self, root: Header, certificate: Certificate | None) -> None:
        """Moves the root and forgets what lies at or below it. The root of an epoch has no certificate
        of that epoch."""
        self.root, self.root_hash, self.root_certificate = root, block_hash(root), certificate
        for views in (self._notarized, self._nullified):
            for view in [view for view in views if view <= root.view]:
                del views[view]
        if self.unresolved is not None and self.unresolved.statement.view <= root.view:
            self.unresolved = None

    def is_news(self, certificate: Certificate) -> bool:
        """Whether this certificate, once verified, would tell anything."""
        view = certificate.statement.view
        if view <= self.root.view:
            return False
        match certificate.statement.phase:
            case Phase.VOTE:
                return view not in self._notarized
            case Phase.NULL:
                return view not in self._nullified
            case _:
                return self.unresolved is None or self.unresolved.statement.view < view

    def add(self, certificate: Certificate) -> None:
        """Takes in a verified certificate. One of finalization waits in `unresolved` for its chain."""
        view = certificate.statement.view
        match certificate.statement.phase:
            case Phase.VOTE:
                self._notarized[view] = certificate
            case Phase.NULL:
                self._nullified[view] = certificate
            case _:
                self._notarized.setdefault(view, certificate)
                if self.is_news(certificate):
                    self.unresolved = certificate

    def tip(self, view: int) -> BlockHash | None:
        """The newest notarized block before `view`, or None while certificates are missing."""
        for earlier in range(view - 1, self.root.view, -1):
            if earlier in self._notarized:
                return self._notarized[earlier].statement.block
            if earlier not in self._nullified:
                return None
        return self.root_hash

    def allows(self, parent: BlockHash, view: int, base: Callable[[BlockHash], BlockHash]) -> bool:
        """Whether a block of `view` may extend `parent`: notarized, and every view between nullified.

        `base` is that of `step.Chain`: what extends a tail names the block before it as its parent.
        """
        for earlier in range(view - 1, self.root.view, -1):
            notarization = self._notarized.get(earlier)
            if notarization is not None and base(notarization.statement.block) == parent:
                return True
            if earlier not in self._nullified:
                return False
        return parent == self.root_hash

    def justification(self, view: int) -> tuple[Certificate | None, tuple[Certificate, ...]]:
        """What shows others that a block of `view` may extend the tip: see `Proposal`."""
        gap: list[Certificate] = []
        for earlier in range(view - 1, self.root.view, -1):
            if earlier in self._notarized:
                return self._notarized[earlier], tuple(gap[:NULLIFICATIONS_MAX])
            gap.append(self._nullified[earlier])
        return self.root_certificate, tuple(gap[:NULLIFICATIONS_MAX])

    def notarized_blocks(self) -> list[BlockHash]:
        """The blocks notarized above the root, by rising view."""
        return [self._notarized[view].statement.block for view in sorted(self._notarized)]

    def all(self) -> list[Certificate]:
        """Every certificate since the last final block, that of the root first, the newest last."""
        root = [] if self.root_certificate is None else [self.root_certificate]
        above = [views[view] for views in (self._notarized, self._nullified) for view in sorted(views)]
        above.sort(key=lambda certificate: certificate.statement.view)
        unresolved = [] if self.unresolved is None else [self.unresolved]
        return root + above[-NULLIFICATIONS_MAX:] + unresolved
