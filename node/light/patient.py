"""A patient's light client: everything it runs, wired together over the ports."""

import trio

from node.fetching import Fetcher
from node.keystore import WalletKeys
from node.light.clinics import Clinics
from node.light.discovery import Discovery
from node.light.headers import LightChain
from node.light.my import My
from node.light.sharing import Sharing
from node.light.transact import Transactor
from node.light.wallet import Wallet
from node.light.who import Who
from node.ports import Clock, Entropy, Offload, Store, TaskStatus, Transport
from protocol import limits
from protocol.blocks import Genesis


class Patient:
    """The light client's services. Construct (no tasks start), run the transport and this."""

    def __init__(
        self,
        *,
        transport: Transport,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        offload: Offload,
        genesis: Genesis,
        keys: WalletKeys,
    ) -> None:
        self.genesis = genesis
        self.clinics = Clinics(
            transport=transport, members=genesis.members, reply_limit=limits.LIGHT_REPLY_BYTES_MAX
        )
        self.chain = LightChain(genesis=genesis, store=store, clinics=self.clinics, clock=clock)
        self.wallet = Wallet(keys=keys, store=store)
        network = self.chain.network
        self.my = My(
            chain=self.chain,
            clinics=self.clinics,
            wallet=self.wallet,
            discovery=Discovery(chain=self.chain, clinics=self.clinics, wallet=self.wallet),
            sharing=Sharing(
                chain=self.chain,
                clinics=self.clinics,
                wallet=self.wallet,
                transactor=Transactor(chain=self.chain, clinics=self.clinics),
                clock=clock,
                entropy=entropy,
            ),
            who=Who(clinics=self.clinics, wallet=self.wallet, network=network),
            fetcher=Fetcher(transport=transport, clock=clock, offload=offload, network=network),
            clock=clock,
        )

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows the chain until cancelled."""
        await self.chain.run(task_status=task_status)
