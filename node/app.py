"""The composition root: from a configuration to a running daemon, and orderly down again.

Stop = let the requests that run end, within a grace deadline; then leave the network; then end the
services; then close the databases. A service that fails takes the daemon down, a peer never does.
"""

import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from node import collector, paths
from node.adapters import SystemClock, SystemEntropy, ThreadOffload
from node.clinic import Clinic
from node.config import Config
from node.control.answers import Answers, Joined
from node.control.server import ControlServer
from node.control.status import Self
from node.dialling import ordered_members, whom_to_dial
from node.founding import check_membership, keep_genesis, load_genesis
from node.keystore import ClinicKeys, Keyring, WalletKeys, is_protected, load_keyfile
from node.light.client import LightClient
from node.lockdown import forbid_core_dumps
from node.logs import begin_log
from node.net.libp2p_host import Libp2pTransport
from node.net.peers import PeerAddress
from node.ports import Ports, Store, TaskStatus
from node.records.audit_chain import KEEP_EVIDENCE
from node.store.leveldb import LEDGER_TUNING, LevelDbTuning, blob_tuning, open_leveldb
from node.store.rebuild import condemn, is_condemned, open_rebuildable
from node.store.report import storage_warnings
from node.store.votefile import open_vote_file
from node.systemd import supervisor
from protocol import limits
from protocol.blocks import Genesis, NetworkId, network_id
from protocol.errors import ChartmeshError, Code, LocalProtocolError, StorageError, UserError
from protocol.keys import SEED_BYTES, PublicKey, SigningKey
from protocol.wallet import HotMaster, wallet_id

# What to do where the wallet's database is damaged: no clinic can give it again.
KEEP_WALLET: Final = "restore it from a backup: it holds which keys are used, which nobody else knows"

_log = logging.getLogger(__name__)


def run_daemon(config: Config, passphrase: bytes | None, *, is_json: bool = False) -> None:
    """Runs the node of `config` until it is told to stop. With `is_json`, the log is JSON lines.

    Raises:
        ChartmeshError: it cannot start, or a service failed: each with its code.
    """
    begin_log(config.log.level, is_json=is_json)
    forbid_core_dumps()
    with ExitStack() as resources:
        resources.enter_context(paths.lock_data_dir(config.node.data_dir))
        keys = _load_keys(config, passphrase)
        daemon = Daemon(config, keys, resources)
        try:
            trio.run(daemon.run)
        except BaseExceptionGroup as group:
            raise _cause(group) from group
    _log.info("stopped")


@dataclass(frozen=True, slots=True)
class _Part:
    """This node's part in its network, and the transport that carries it."""

    node: Clinic | LightClient
    transport: Libp2pTransport
    leaving: trio.Event
    left: trio.Event

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until `leaving` is set or it is cancelled. The services outlive the transport: what a
        connection that ends has to say is still written down."""
        async with trio.open_nursery() as services:
            await services.start(self.node.run)
            async with trio.open_nursery() as network:
                await network.start(self.transport.run)
                task_status.started()
                await self.leaving.wait()
                network.cancel_scope.cancel()
            services.cancel_scope.cancel()
        self.left.set()


class Daemon:
    """One node as a process. The databases it opens are closed by `resources`."""

    def __init__(self, config: Config, keys: ClinicKeys | WalletKeys, resources: ExitStack) -> None:
        self._config, self._keys, self._resources = config, keys, resources
        self._clock, self._entropy, self._offload = SystemClock(), SystemEntropy(), ThreadOffload()
        self._supervisor = supervisor()
        self._stopping, self._joining = trio.Event(), trio.Lock()
        self._part: _Part | None = None
        self._nursery: trio.Nursery | None = None
        own = Self(
            role=config.node.role,
            name=config.node.name,
            identity=_identity(keys),
            began_ms=self._clock.elapsed_ms(),
            quota_bytes=config.storage.quota_bytes,
            is_protected=is_protected(paths.keyfile(config.node.data_dir)),
            clock=self._clock,
            storage_warnings=lambda: storage_warnings(config.node.data_dir),
        )
        self._identity = own.identity
        self._answers = Answers(own, join=self._join, stop=self._stopping.set)
        self._control = ControlServer(path=config.control.socket, answerer=self._answers)

    async def run(self) -> None:
        """Raises what a service failed of, in groups."""
        genesis = load_genesis(self._config.network.genesis)
        numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
        with trio.open_signal_receiver(*numbers) as signals:
            async with trio.open_nursery() as infrastructure:
                self._nursery = infrastructure
                infrastructure.start_soon(self._watch_signals, signals)
                infrastructure.start_soon(self._supervisor.keep_alive)
                if genesis is not None:
                    await self._enter(genesis)
                await self._serve_requests()
                if self._part is not None:
                    self._part.leaving.set()
                    with trio.move_on_after(limits.SHUTDOWN_GRACE_S):
                        await self._part.left.wait()
                infrastructure.cancel_scope.cancel()

    async def _serve_requests(self) -> None:
        """Serves the control socket until the daemon is to stop, and lets what runs then end."""
        async with trio.open_nursery() as requests:
            await requests.start(self._control.run)
            collector.begin()
            self._supervisor.ready()
            _log.info("ready: %s in %s", self._config.node.role, self._config.node.data_dir)
            await self._stopping.wait()
            _log.info("stopping")
            self._supervisor.stopping()
            requests.cancel_scope.deadline = trio.current_time() + limits.SHUTDOWN_GRACE_S
            self._control.drain()
            if self._part is not None:
                await self._part.node.drain()

    async def _watch_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                _log.warning("the configuration is read at the start only: stop and start to have it read")
            else:
                self._stopping.set()

    async def _join(self, genesis: Genesis) -> None:
        """Enters the network of `genesis` and keeps its file. Entering the same one again does nothing.

        Raises:
            UserError: another network, or this clinic is not among its members.
        """
        async with self._joining:
            self._check(genesis)
            keep_genesis(self._config.network.genesis, genesis)
            if self._part is None:
                await self._enter(genesis)

    async def _enter(self, genesis: Genesis) -> None:
        self._check(genesis)
        assert self._nursery is not None
        match self._keys:
            case ClinicKeys():
                part = self._clinic(genesis, self._keys)
            case WalletKeys():
                part = self._light(genesis, self._keys)
        await self._nursery.start(part.run)
        self._part = part
        self._answers.joined = Joined(part.node, part.transport)
        _log.info("in the network %s with %d members", genesis.name, len(genesis.members))

    def _check(self, genesis: Genesis) -> None:
        if isinstance(self._keys, ClinicKeys):
            own = Keyring.of(self._keys)
            assert own.vote is not None
            check_membership(genesis, own.identity.public, own.vote.public, own.opening.public)

    # Wiring.

    def _clinic(self, genesis: Genesis, keys: ClinicKeys) -> _Part:
        ledger = paths.ledger_db(self._config.node.data_dir)
        try:
            return self._build_clinic(genesis, keys)
        except StorageError:
            if not is_condemned(ledger):
                raise
            # It is set aside now, and the second time there is a new one.
            return self._build_clinic(genesis, keys)

    def _build_clinic(self, genesis: Genesis, keys: ClinicKeys) -> _Part:
        """Raises StorageError; a ledger that does not hold together is condemned then."""
        data_dir, network = self._config.node.data_dir, network_id(genesis)
        transport = Libp2pTransport(
            seed=keys.identity_seed,
            network=network,
            clock=self._clock,
            listen=self._config.network.listen,
            members=[PeerAddress(member.id_key, member.addresses) for member in genesis.members],
        )
        with ExitStack() as opened:
            ports = self._open_ports(opened, transport, network, keys.generation)
            try:
                clinic = Clinic(
                    ports=ports,
                    genesis=genesis,
                    keys=Keyring.of(keys),
                    quota_bytes=self._config.storage.quota_bytes,
                )
            except StorageError as error:
                if error.code is Code.STORE_DAMAGED:
                    condemn(paths.ledger_db(data_dir))
                raise
            self._resources.push(opened.pop_all())
        return _Part(clinic, transport, trio.Event(), trio.Event())

    def _open_ports(
        self, opened: ExitStack, transport: Libp2pTransport, network: NetworkId, generation: int
    ) -> Ports:
        """The world of a clinic; its databases and its vote file are closed by `opened`."""
        data_dir = self._config.node.data_dir
        votes = open_vote_file(paths.votes(data_dir, generation))
        opened.callback(votes.close)
        blobs = blob_tuning(self._config.storage.blob_write_buffer_bytes)

        def rebuildable(path: Path, tuning: LevelDbTuning) -> Store:
            store = open_rebuildable(path, tuning=tuning, network=network)
            opened.callback(store.close)
            return store

        ledger_store = rebuildable(paths.ledger_db(data_dir), LEDGER_TUNING)
        blob_store = rebuildable(paths.blob_db(data_dir), blobs)
        audit = paths.audit_db(data_dir)
        audit_store = open_leveldb(audit, tuning=LEDGER_TUNING, network=network, remedy=KEEP_EVIDENCE)
        opened.callback(audit_store.close)
        return Ports(
            transport=transport,
            ledger_store=ledger_store,
            blob_store=blob_store,
            audit_store=audit_store,
            votes=votes,
            clock=self._clock,
            entropy=self._entropy,
            offload=self._offload,
        )

    def _light(self, genesis: Genesis, keys: WalletKeys) -> _Part:
        network, clinics = network_id(genesis), self._config.network.clinics
        transport = Libp2pTransport(
            seed=self._entropy.bytes(SEED_BYTES),
            network=network,
            clock=self._clock,
            listen=self._config.network.listen,
            members=whom_to_dial(genesis, clinics),
        )
        store = open_leveldb(
            paths.ledger_db(self._config.node.data_dir),
            tuning=LEDGER_TUNING,
            network=network,
            remedy=KEEP_WALLET,
        )
        self._resources.callback(store.close)
        client = LightClient(
            genesis=genesis,
            keys=keys,
            transport=transport,
            store=store,
            clock=self._clock,
            entropy=self._entropy,
            offload=self._offload,
            members=ordered_members(genesis, clinics),
        )
        return _Part(client, transport, trio.Event(), trio.Event())


def _load_keys(config: Config, passphrase: bytes | None) -> ClinicKeys | WalletKeys:
    """Raises UserError: missing, damaged, of the other role, or not opened by the passphrase."""
    path = paths.keyfile(config.node.data_dir)
    if not path.exists():
        raise _no_keys(config.node.data_dir)
    if config.node.role == "clinic":
        return load_keyfile(path, ClinicKeys, passphrase)
    return load_keyfile(path, WalletKeys, passphrase)


def _no_keys(data_dir: Path) -> UserError:
    if not paths.has_history(data_dir):
        return UserError(
            f"there are no keys in {data_dir}", "make them: chartmesh init", code=Code.NOT_INITIALISED
        )
    return UserError(
        f"the key file {paths.keyfile(data_dir)} is missing",
        "put it back from your backup: with other keys this directory is of no use",
        code=Code.KEY_FILE,
    )


def _identity(keys: ClinicKeys | WalletKeys) -> PublicKey:
    match keys:
        case ClinicKeys():
            return SigningKey(keys.identity_seed).public
        case WalletKeys():
            return wallet_id(HotMaster(keys.hot_master))


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to tell of a daemon that failed: the one expected error, or that it was a fault of ours."""
    causes = list(_leaves(group))
    unexpected = [cause for cause in causes if not isinstance(cause, ChartmeshError)]
    if not unexpected:
        return causes[0]
    _log.critical("a service failed", exc_info=group)
    return LocalProtocolError(
        f"the daemon stopped on a fault of its own: {unexpected[0]!r}",
        "see the log above, and report it; the data is as it was",
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
