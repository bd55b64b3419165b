"""Whom this clinic's own names for its patients stand for.

A name is bound to the reference by which this clinic knows one person (`protocol.persons`): under it come
her receive codes, and what she shares with this clinic of other clinics' records. Names and references are
sealed to the clinic's own key, so that neither is in clear on its disk; nothing of them leaves the clinic.
"""

from typing import Final

from node.ports import Clock, Entropy, Store
from node.store import layout
from protocol import limits
from protocol.codec import Wire, decode, digest, encode
from protocol.errors import Code, StorageError, UserError
from protocol.keys import OpeningKey, seal
from protocol.persons import Reference

_ENTRY_BYTES_MAX: Final = 2 * limits.KIB
_ENTROPY_BYTES: Final = 32


class Patient(Wire, frozen=True):
    """`name` is the clinic's own, bound to `reference` at `since_ms`."""

    name: str
    reference: bytes
    since_ms: int


class Patients:
    """The clinic's table of names. All of it is in memory once it was asked for."""

    def __init__(self, *, store: Store, opening_key: OpeningKey, clock: Clock, entropy: Entropy) -> None:
        self._store, self._opening_key = store, opening_key
        self._clock, self._entropy = clock, entropy
        self._loaded: dict[bytes, Patient] | None = None

    def all(self) -> list[Patient]:
        """By name."""
        return sorted(self._known().values(), key=lambda one: (one.name, one.since_ms))

    def references(self, name: str) -> set[bytes]:
        """What is bound to a name: one reference, or several where she came with a new wallet."""
        return {one.reference for one in self._known().values() if one.name == name}

    def name_of(self, reference: bytes) -> str:
        """The name that a reference is bound to, or an empty string."""
        known = self._known().get(reference)
        return "" if known is None else known.name

    def enrol(self, name: str, reference: Reference, *, is_also: bool = False) -> Patient:
        """Binds `name` to `reference`, durably; `is_also` adds it to those that the name has.

        Raises:
            UserError: USAGE: the name stands for somebody else, or she has another name here.
        """
        self.check(name, reference, is_also=is_also)
        known = self._known()
        if reference in known:
            return known[reference]
        patient = Patient(name, reference, self._clock.wall_ms())
        sealed = seal(
            self._opening_key.public, encode(patient), entropy=self._entropy.bytes(_ENTROPY_BYTES)
        )
        # The key says nothing to who has the disk alone: a reference cannot be guessed.
        self._store.write([(layout.patient(digest("patient", reference)), sealed)], sync=True)
        known[reference] = patient
        return patient

    def check(self, name: str, reference: Reference, *, is_also: bool = False) -> None:
        """Raises UserError as `enrol` does."""
        if not name.isprintable():
            raise UserError("the patient's name cannot be shown", "use plain text", code=Code.USAGE)
        other = self.name_of(reference)
        if other not in ("", name):
            raise UserError(
                f"this code is of somebody who is called {other} here",
                "check who is at the desk, and give that name",
                code=Code.USAGE,
            )
        if not other and self.references(name) and not is_also:
            raise UserError(
                f"the code is not of the person who is called {name} here",
                "check who is at the desk; for a new wallet of the same person: "
                "chartmesh patient enrol NAME --for CODE --also",
                code=Code.USAGE,
            )

    def _known(self) -> dict[bytes, Patient]:
        if self._loaded is None:
            opened = [self._open(raw) for _, raw in self._store.iterate(layout.PATIENT)]
            self._loaded = {one.reference: one for one in opened}
        return self._loaded

    def _open(self, sealed: bytes) -> Patient:
        raw = self._opening_key.open(sealed)
        if raw is None:
            raise StorageError(
                "an entry of this clinic's own patients does not open",
                "restore the key file that belongs to this data directory",
                code=Code.STORE_DAMAGED,
            )
        return decode(Patient, raw, limit=_ENTRY_BYTES_MAX)
