"""The patient's node: its parts wired together over the ports."""

import trio

from node.dialling import Dialling
from node.keystore import WalletKeys
from node.light.clinics import Clinics
from node.light.collecting import Collecting
from node.light.discovery import Discovery
from node.light.erasing import Erasing
from node.light.exporting import Exporter
from node.light.given import GivenGrants
from node.light.giving import Giving
from node.light.headers import LightChain
from node.light.known_requests import KnownRequests
from node.light.logs import Logs
from node.light.lookups import Lookups
from node.light.members import Members, load_members
from node.light.my import My
from node.light.own_keys import OwnKeys
from node.light.persons import Persons
from node.light.preview import Preview
from node.light.proofs import Proofs
from node.light.provisions import Provisions
from node.light.recovery import Recovery
from node.light.requests import Requests
from node.light.rotation import Rotation
from node.light.sharing import Sharing
from node.light.transact import Transactor
from node.light.wallet import Keep, Wallet
from node.light.who import Who
from node.ports import Clock, Entropy, Offload, Store, TaskStatus, Transport
from node.records.fetching import Fetcher
from protocol import limits
from protocol.blocks import Genesis


class LightClient:
    """A wallet and the headers it verified. Construct, run the transport and this, cancel to stop.

    `dialling` says to which members it connects, which it tells the transport. The transport's identity
    says nothing about the patient: it should be a fresh one for each run.
    """

    def __init__(
        self,
        *,
        genesis: Genesis,
        keys: WalletKeys,
        keep: Keep,
        transport: Transport,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        offload: Offload,
        dialling: Dialling | None = None,
    ) -> None:
        self.genesis, self.transport, self.store = genesis, transport, store
        known = load_members(store, genesis)
        self.clinics = Clinics(
            transport=transport,
            members=known.members,
            reply_limit=limits.LIGHT_REPLY_BYTES_MAX,
            dialling=dialling or Dialling(),
        )
        self.chain = LightChain(genesis=genesis, store=store, clinics=self.clinics, clock=clock)
        self.wallet = Wallet(keys=keys, store=store, keep=keep)
        self.persons = Persons(wallet=self.wallet, store=store, network=self.chain.network)
        self.proofs = Proofs(
            genesis=genesis, chain=self.chain, clinics=self.clinics, wallet=self.wallet, clock=clock
        )
        lookups = Lookups(chain=self.chain, clinics=self.clinics)
        self.members = Members(chain=self.chain, clinics=self.clinics, store=store, known=known)
        transactor = Transactor(chain=self.chain, clinics=self.clinics)
        discovery = Discovery(lookups=lookups, wallet=self.wallet)
        sharing, who = self._sharing(transactor, clock, entropy), self._who(self.members)
        fetcher = Fetcher(transport=transport, clock=clock, offload=offload, network=self.chain.network)
        self.provisions = self._provisions(discovery, sharing, clock, entropy)
        self.my = My(
            chain=self.chain,
            clinics=self.clinics,
            members=self.members,
            wallet=self.wallet,
            persons=self.persons,
            discovery=discovery,
            sharing=sharing,
            provisions=self.provisions,
            who=who,
            fetcher=fetcher,
            clock=clock,
        )
        self.exporter = self._exporter(who, fetcher, clock)
        self.preview = self._preview(sharing, clock)
        self.requests = self._requests(sharing, clock)
        self.giving = self._giving(discovery, transactor, clock, entropy)
        self.erasing = self._erasing(discovery, sharing, who, transactor, clock)
        self.own_keys = OwnKeys(
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            rotation=self._rotation(discovery, sharing, transactor, clock, entropy),
            provisions=self.provisions,
            recovery=self._recovery(lookups),
        )

    def _sharing(self, transactor: Transactor, clock: Clock, entropy: Entropy) -> Sharing:
        return Sharing(
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            persons=self.persons,
            transactor=transactor,
            proofs=self.proofs,
            clock=clock,
            entropy=entropy,
        )

    def _provisions(
        self, discovery: Discovery, sharing: Sharing, clock: Clock, entropy: Entropy
    ) -> Provisions:
        return Provisions(
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            persons=self.persons,
            discovery=discovery,
            sharing=sharing,
            store=self.store,
            clock=clock,
            entropy=entropy,
        )

    def _exporter(self, who: Who, fetcher: Fetcher, clock: Clock) -> Exporter:
        return Exporter(
            genesis=self.genesis,
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            proofs=self.proofs,
            my=self.my,
            who=who,
            fetcher=fetcher,
            clock=clock,
        )

    def _preview(self, sharing: Sharing, clock: Clock) -> Preview:
        return Preview(
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            proofs=self.proofs,
            sharing=sharing,
            my=self.my,
            clock=clock,
        )

    def _giving(
        self, discovery: Discovery, transactor: Transactor, clock: Clock, entropy: Entropy
    ) -> Giving:
        return Giving(
            chain=self.chain,
            wallet=self.wallet,
            persons=self.persons,
            discovery=discovery,
            transactor=transactor,
            clock=clock,
            entropy=entropy,
        )

    def _erasing(
        self, discovery: Discovery, sharing: Sharing, who: Who, transactor: Transactor, clock: Clock
    ) -> Erasing:
        return Erasing(
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            discovery=discovery,
            sharing=sharing,
            who=who,
            transactor=transactor,
            clock=clock,
        )

    def _requests(self, sharing: Sharing, clock: Clock) -> Requests:
        known = KnownRequests(store=self.store, clock=clock)
        collecting = Collecting(
            chain=self.chain, clinics=self.clinics, wallet=self.wallet, known=known, clock=clock
        )
        return Requests(
            clinics=self.clinics,
            members=self.members,
            wallet=self.wallet,
            persons=self.persons,
            sharing=sharing,
            known=known,
            collecting=collecting,
            look=self.my.known,
        )

    def _recovery(self, lookups: Lookups) -> Recovery:
        given = GivenGrants(chain=self.chain, clinics=self.clinics, wallet=self.wallet, proofs=self.proofs)
        return Recovery(
            clinics=self.clinics,
            members=self.members,
            lookups=lookups,
            wallet=self.wallet,
            persons=self.persons,
            given=given,
        )

    def _rotation(
        self,
        discovery: Discovery,
        sharing: Sharing,
        transactor: Transactor,
        clock: Clock,
        entropy: Entropy,
    ) -> Rotation:
        return Rotation(
            chain=self.chain,
            wallet=self.wallet,
            persons=self.persons,
            discovery=discovery,
            sharing=sharing,
            transactor=transactor,
            clock=clock,
            entropy=entropy,
        )

    def _who(self, roll: Members) -> Who:
        network = self.chain.network
        logs = Logs(clinics=self.clinics, wallet=self.wallet, network=network, store=self.store)
        return Who(clinics=self.clinics, members=roll, wallet=self.wallet, network=network, logs=logs)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows the chain and the members until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.chain.run)
            await nursery.start(self.members.run)
            await nursery.start(self.provisions.run)
            task_status.started()

    async def drain(self) -> None:
        """Nothing runs for others here."""
