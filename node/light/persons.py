"""The persons whose records a wallet holds: their names, which stay on this device, and whose a record is.

The words alone bring their numbers back and never their names. Whose a record is stands in the box that
came with it: as its issuer knows her, or for the owner key to which she, or whoever gave it to her, sealed
it.
"""

from typing import Final

from node.light.wallet import Keyed, OwnRecord, Wallet
from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.blocks import NetworkId
from protocol.codec import Wire, decode, encode
from protocol.control import MyPersonsResult, PersonItem
from protocol.errors import Code, UserError
from protocol.grants import SealedKey
from protocol.keys import PublicKey
from protocol.persons import OWN, OWN_NAME, Reference, person_of, reference
from protocol.transactions import TokenId
from protocol.wallet import HotMaster, person_secret

_PERSON, _ASSIGNED = layout.wallet(b"person/"), layout.wallet(b"assigned/")
_ENTRY_BYTES_MAX: Final = limits.KIB


class Person(Wire, frozen=True):
    """`name` is the wallet holder's own word for her."""

    number: int
    name: str


class Persons:
    """The persons of one wallet in one network. Number 0 is there from the beginning."""

    def __init__(self, *, wallet: Wallet, store: Store, network: NetworkId) -> None:
        self._wallet, self._store, self._network = wallet, store, network
        first_device = HotMaster(wallet.keys.hot_masters[0])
        self._secrets = tuple(person_secret(first_device, one) for one in range(limits.PERSONS_MAX))

    def all(self) -> list[Person]:
        """By their numbers."""
        known = {OWN: Person(OWN, OWN_NAME)}
        for _, raw in self._store.iterate(_PERSON):
            one = decode(Person, raw, limit=_ENTRY_BYTES_MAX)
            known[one.number] = one
        return [known[number] for number in sorted(known)]

    def named(self, name: str | None) -> Person:
        """The person called so; without a name the wallet's first. Raises UserError REFUSED."""
        if name is None:
            return self.all()[0]
        for one in self.all():
            if one.name == name:
                return one
        raise UserError(
            f"this wallet knows nobody called {name}",
            "see: chartmesh my person list, or add one: chartmesh my person add NAME",
            code=Code.REFUSED,
        )

    def add(self, name: str) -> MyPersonsResult:
        """Raises UserError USAGE, a name that is used or cannot be shown; LIMIT."""
        number = self.all()[-1].number + 1
        if number >= limits.PERSONS_MAX:
            raise UserError(
                f"a wallet holds the records of at most {limits.PERSONS_MAX} persons",
                "make another wallet: chartmesh init --role light",
                code=Code.LIMIT,
            )
        self._put(number, name)
        return self.listed()

    def rename(self, name: str, to: str) -> MyPersonsResult:
        """Raises UserError REFUSED, nobody is called `name`; USAGE, as `add` does."""
        self._put(self.named(name).number, to)
        return self.listed()

    def note(self, number: int) -> None:
        """A person whom a search found, with a name for want of hers."""
        if all(one.number != number for one in self.all()):
            self._put(number, f"person {number}")

    def assign(self, token: TokenId, name: str) -> MyPersonsResult:
        """Says whose a record is, on this device. Raises UserError REFUSED."""
        number = self.named(name).number
        self._store.write([(_ASSIGNED + token, bytes((number,)))], sync=True)
        return self.listed()

    def listed(self) -> MyPersonsResult:
        counts = [self.of(record, self._wallet.open(record)) for record in self._wallet.records()]
        return MyPersonsResult(
            persons=tuple(
                PersonItem(name=one.name, number=one.number, records=counts.count(one.number))
                for one in self.all()
            )
        )

    def of(self, record: OwnRecord, held: SealedKey) -> int | None:
        """The number of the person whose record this is; None where its box does not tell."""
        assigned = self._store.get(_ASSIGNED + record.token)
        if assigned:
            return assigned[0]
        known_to = (record.issuer, self._wallet.owner_key(record).public)
        return person_of(held.reference, self._secrets, self._network, known_to)

    def of_keys(self, keyed: Keyed) -> int | None:
        """Whose records the keys are for, or have; None where they are not in use."""
        for record in self._wallet.records():
            if (record.device, record.index) == (keyed.device, keyed.index):
                return self.of(record, self._wallet.open(record))
        for offer in self._wallet.offers():
            if (offer.device, offer.index) == (keyed.device, keyed.index):
                return offer.person
        return None

    def name_of(self, number: int | None) -> str:
        """Her name, or an empty string where she is not known."""
        return next((one.name for one in self.all() if one.number == number), "")

    def known(self, record: OwnRecord, held: SealedKey) -> int:
        """As `of`. Raises UserError USAGE where the box does not tell: to guess could mix two persons."""
        number = self.of(record, held)
        if number is None:
            raise UserError(
                f"it is not clear whose record {record.token.hex()[:12]} is",
                "say it: chartmesh my person assign RECORD NAME",
                code=Code.USAGE,
            )
        return number

    def reference(self, number: int, known_to: PublicKey) -> Reference:
        """As `protocol.persons.reference`."""
        return reference(self._secrets[number], self._network, known_to)

    def _put(self, number: int, name: str) -> None:
        if not name.isprintable():
            raise UserError("the name cannot be shown", "use plain text", code=Code.USAGE)
        if any(one.name == name and one.number != number for one in self.all()):
            raise UserError(
                f"this wallet has a person called {name} already", "choose another name", code=Code.USAGE
            )
        key = _PERSON + bytes((number,))
        self._store.write([(key, encode(Person(number, name)))], sync=True)
