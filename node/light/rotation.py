"""A lost phone: every record gets keys that the lost device cannot derive, and what was shared ends."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from node.light.discovery import Discovery
from node.light.headers import LightChain
from node.light.persons import Persons
from node.light.sharing import Sharing
from node.light.transact import Transactor
from node.light.wallet import Offer, OwnGrant, OwnRecord, RecordState, Wallet
from node.light.words import Cold
from node.ports import Clock, Entropy
from protocol import limits
from protocol.codec import HASH_BYTES
from protocol.control import LostPhoneResult, RekeyedItem
from protocol.errors import Code, UserError
from protocol.messages.consensus import Submission
from protocol.rekeying import sign_rotation
from protocol.transactions import TokenId, transaction_id


class Rotation:
    """Rotates all records of the wallet."""

    def __init__(
        self,
        *,
        chain: LightChain,
        wallet: Wallet,
        persons: Persons,
        discovery: Discovery,
        sharing: Sharing,
        transactor: Transactor,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._chain, self._wallet, self._discovery = chain, wallet, discovery
        self._sharing, self._transactor = sharing, transactor
        self._clock, self._entropy, self._persons = clock, entropy, persons

    async def lost_phone(self, words: str, keep: Sequence[str]) -> LostPhoneResult:
        """Gives every record new keys, of a device number that was never used. Grants end, but those
        of `keep`, named by prefixes of their ids.

        Raises:
            UserError: WORDS; REFUSED or AMBIGUOUS_ID for `keep`; LIMIT; USAGE where there is no record;
                NOT_INITIALISED before these words were recovered here.
        """
        cold = Cold(words, self._wallet)
        self._wallet.require_pool()
        await self._discovery.look_up([*self._wallet.offers(), *self._wallet.records()])
        await self._sharing.refresh()
        kept = self._kept(keep)
        records = self._wallet.records()
        if not records:
            raise UserError(
                "this wallet has no record whose keys could be changed",
                "make a wallet with new words: chartmesh init --role light",
                code=Code.USAGE,
            )
        device = self._wallet.device + 1
        masters = (*self._wallet.keys.hot_masters, cold.hot_secret(device))
        await cold.extend(masters, self._wallet.next_index, len(records))
        not_after_ms = self._clock.wall_ms() + limits.ENROLMENT_LIFE_MS_MAX
        offers = self._wallet.offer([one.issuer for one in records], not_after_ms)
        made = [self._rotate(cold, *pair, kept) for pair in zip(records, offers, strict=True)]
        for submission, _ in made:
            # One that is refused, because another device was quicker, must not hold up the others.
            await self._transactor.submit([submission])
        names = [transaction_id(submission.transaction) for submission, _ in made]
        heights = await self._transactor.wait_final(names)
        items: list[RekeyedItem] = []
        for name, (_, record) in zip(names, made, strict=True):
            if name in heights:
                self._wallet.put_record(replace(record, seen_height=heights[name]))
            title = self._wallet.open(record).label.title
            items.append(RekeyedItem(token=record.token.hex(), title=title, final=name in heights))
        changed = {record.token for name, (_, record) in zip(names, made, strict=True) if name in heights}
        self._end_grants(changed, kept)
        return LostPhoneResult(
            device=device, records=tuple(items), kept=tuple(grant.grant_id.hex() for grant in kept)
        )

    def _kept(self, prefixes: Sequence[str]) -> list[OwnGrant]:
        """Raises UserError: no such grant, several, or one that does not live."""
        grants = [self._wallet.grant(prefix) for prefix in prefixes]
        for grant in grants:
            if self._sharing.state(grant) != "live":
                raise UserError(
                    f"the share {grant.grant_id.hex()[:12]} is not live, so it cannot be kept",
                    "see: chartmesh my shares",
                    code=Code.USAGE,
                )
        return list({grant.grant_id: grant for grant in grants}.values())

    def _rotate(
        self, cold: Cold, record: OwnRecord, offer: Offer, kept: Sequence[OwnGrant]
    ) -> tuple[Submission, OwnRecord]:
        """The rotation of `record` to the keys of `offer`, and the record that comes of it."""
        held, owner = self._wallet.open(record), self._wallet.owner_key(offer)
        person = self._persons.of(record, held)
        if person is not None:
            held = replace(held, reference=self._persons.reference(person, owner.public))
        raw, sealed = sign_rotation(
            record.token,
            record.generation,
            held,
            next_key=cold.next_key(record),
            owner=owner,
            fresh=self._wallet.fresh_keys(offer),
            keep=[grant.grant_id for grant in kept if grant.token == record.token],
            network=self._chain.network,
            entropy=self._entropy.bytes(HASH_BYTES),
        )
        after = replace(
            record,
            device=offer.device,
            index=offer.index,
            generation=record.generation + 1,
            sealed_key=sealed,
            state=RecordState.OWNED,
        )
        return Submission(raw, sealed), after

    def _end_grants(self, tokens: Collection[TokenId], kept: Sequence[OwnGrant]) -> None:
        """The ledger ended them with the generation of each token."""
        stays = {grant.grant_id for grant in kept}
        for grant in self._wallet.grants():
            if grant.token in tokens and grant.grant_id not in stays and not grant.stopped_ms:
                self._wallet.put_grant(replace(grant, stopped_ms=self._clock.wall_ms()))
