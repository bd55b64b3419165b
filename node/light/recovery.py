"""A new device: everything of a patient found again from her 24 words and the ledger.

The keys of every device number are looked up, index after index, until enough in a row own nothing. The
questions are spread over all clinics (`node.light.lookups`), so none learns which keys belong together, and
each answer is proven, so none can keep a record back. To search all blocks on the device instead would tell
nobody anything, and cost what the whole ledger weighs: that grows with the network, not with the patient.
"""

from dataclasses import dataclass

from node.light.clinics import Clinics
from node.light.discovery import record_of
from node.light.given import GivenGrants
from node.light.lookups import Lookups, Question
from node.light.members import Members
from node.light.persons import Persons
from node.light.wallet import Offer, OwnRecord, Wallet
from node.light.words import Cold
from protocol import limits
from protocol.control import RecoverResult
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.persons import OWN
from protocol.wallet import HotMaster, owner_key

BATCH = 128
SILENT_DEVICES_MAX = 2
NOBODY = PublicKey(b"")


@dataclass(slots=True)
class Search:
    """How far the search is. `device` is the highest number that any key was found of, `top` is one past
    the highest index."""

    device: int = 0
    top: int = 0


class Recovery:
    """Fills an empty wallet, or looks again for all that one should hold."""

    def __init__(
        self,
        *,
        clinics: Clinics,
        members: Members,
        lookups: Lookups,
        wallet: Wallet,
        persons: Persons,
        given: GivenGrants,
    ) -> None:
        self._clinics, self._members, self._given = clinics, members, given
        self._lookups, self._wallet, self._persons = lookups, wallet, persons

    async def recover(self, words: str) -> RecoverResult:
        """Finds every token that the words' keys were ever given, fills the pool, and finds what is shared.

        Raises:
            UserError: WORDS; STALE: a key, or what is shared, could be asked about at no clinic; KEY_FILE.
        """
        cold = Cold(words, self._wallet)
        await self._members.refresh()
        search, records = await self._search(cold)
        device = max(search.device, self._wallet.device)
        masters = tuple(cold.hot_secret(one) for one in range(device + 1))
        is_new = not self._wallet.next_index
        # Of the codes that the lost device gave out nothing may be on the ledger yet.
        first = max(search.top + (limits.KEY_SKIP if is_new else 0), self._wallet.next_index)
        await cold.extend(masters, first)
        self._wallet.skip_to(first)
        for record in sorted(records, key=lambda one: one.generation):
            self._wallet.put_record(record)
        owned = self._wallet.records()
        self._note_persons(owned)
        given = [
            await self._given.find(record, [one for one in records if one.token == record.token])
            for record in owned
        ]
        return RecoverResult(
            device=device,
            records=len(owned),
            grants=sum(one.live for one in given),
            unreadable=sum(one.unreadable for one in given),
        )

    def _note_persons(self, records: list[OwnRecord]) -> None:
        for record in records:
            person = self._persons.of(record, self._wallet.open(record)) if record.sealed_key else None
            if person is not None:
                self._persons.note(person)

    async def _search(self, cold: Cold) -> tuple[Search, list[OwnRecord]]:
        search, records = Search(), list[OwnRecord]()
        device = 0
        while device <= search.device + SILENT_DEVICES_MAX and device < limits.DEVICES_MAX:
            found = await self._search_device(cold, device, search)
            records.extend(found)
            if found:
                search.device = device
            device += 1
        return search, records

    async def _search_device(self, cold: Cold, device: int, search: Search) -> list[OwnRecord]:
        """The tokens that keys of one device were given. The index only rises from device to device."""
        hot, records, at = HotMaster(cold.hot_secret(device)), list[OwnRecord](), 0
        while at < search.top + limits.KEY_GAP_MAX:
            offers = [Offer(device, index, NOBODY, 0, OWN) for index in range(at, at + BATCH)]
            questions = [Question(owner_key(hot, one.index), None) for one in offers]
            answers = await self._lookups.find(questions, len(self._clinics.members))
            for offer, found in zip(offers, answers, strict=True):
                if found is None:
                    raise UserError(
                        "no clinic could say what some of your keys own",
                        "run it again when more clinics can be reached: chartmesh peers",
                        code=Code.STALE,
                    )
                if found.given is not None:
                    records.append(record_of(offer, found, found.given))
                    search.top = max(search.top, offer.index + 1)
            at += BATCH
        return records
