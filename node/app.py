"""The composition root: from a configuration to a running daemon, and orderly down again.

Stop = let the requests that run end, within a grace deadline; then leave the network; then end the
services; then close the databases. A service that fails takes the daemon down, a peer never does.
"""

import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import trio

from node import collector, paths
from node.adapters import SystemClock, SystemEntropy, ThreadOffload
from node.backup.create import Subject
from node.clinic import Clinic
from node.config import Config
from node.control.answers import Answers, Joined
from node.control.joining import Part
from node.control.keeping import Keeping, keeping_of
from node.control.server import ControlServer
from node.control.status import Self
from node.founding import TERMS_HASH, check_same_network, keep_genesis, load_genesis
from node.keystore import ClinicKeys, WalletKeys, identity_of, is_protected, load_keyfile
from node.lockdown import forbid_core_dumps
from node.logs import begin_log
from node.members.admission import Admission
from node.members.applicant import Applicant, Inviter
from node.members.vote_keys import VoteKeys
from node.parts import Parts, RunningPart
from node.store.report import storage_warnings
from node.systemd import supervisor
from node.version import program_version
from node.wallet_file import WalletFile
from node.web.door import PageDoor
from protocol import limits
from protocol.blocks import Genesis, network_id
from protocol.control import KeysResult, PageOpenResult
from protocol.errors import ChartmeshError, Code, LocalProtocolError, UserError
from protocol.invitations import SignedInvitation, check_invitation, verify_invitation
from protocol.keys import fingerprint

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
        daemon = Daemon(config, keys, passphrase)
        try:
            trio.run(daemon.run)
        except BaseExceptionGroup as group:
            raise _cause(group) from group
    _log.info("stopped")


class Daemon:
    """One node as a process. `passphrase` is that of the key file, which a change of keys rewrites."""

    def __init__(self, config: Config, keys: ClinicKeys | WalletKeys, passphrase: bytes | None) -> None:
        self._config, self._clock = config, SystemClock()
        entropy, offload = SystemEntropy(), ThreadOffload()
        self._offload = offload
        self._parts = Parts(config, self._clock, entropy, offload)
        self._keys: VoteKeys | WalletFile = (
            WalletFile(
                paths.keyfile(config.node.data_dir), keys, passphrase, entropy=entropy, offload=offload
            )
            if isinstance(keys, WalletKeys)
            else VoteKeys(config.node.data_dir, keys, passphrase, entropy=entropy, offload=offload)
        )
        self._supervisor = supervisor()
        self._stopping, self._joining = trio.Event(), trio.Lock()
        self._part: RunningPart | None = None
        self._nursery: trio.Nursery | None = None
        self._rotated = trio.Event()
        self._own = Self(
            role=config.node.role,
            name=config.node.name,
            identity=identity_of(keys),
            began_ms=self._clock.elapsed_ms(),
            quota_bytes=config.storage.quota_bytes,
            is_protected=is_protected(paths.keyfile(config.node.data_dir)),
            clock=self._clock,
            storage_warnings=lambda: storage_warnings(config.node.data_dir),
        )
        self._admission = Admission(config.node.data_dir, keys) if isinstance(keys, ClinicKeys) else None
        self._answers = Answers(self._own, self)
        self._control = ControlServer(path=config.control.socket, answerer=self._answers)
        self._page = PageDoor(
            role=config.node.role, answerer=self._answers, clock=self._clock, entropy=entropy
        )

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
            await requests.start(self._page.run)
            await requests.start(self._control.run)
            collector.begin()
            self._supervisor.ready()
            _log.info("ready: %s in %s", self._config.node.role, self._config.node.data_dir)
            await self._stopping.wait()
            _log.info("stopping")
            self._supervisor.stopping()
            requests.cancel_scope.deadline = trio.current_time() + limits.SHUTDOWN_GRACE_S
            self._control.drain()
            self._page.drain()
            if self._part is not None:
                await self._part.node.drain()

    async def _watch_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                _log.warning("the configuration is read at the start only: stop and start to have it read")
            else:
                self._stopping.set()

    # The door: what the control socket's answers ask for.

    def stop(self) -> None:
        self._stopping.set()

    async def open_page(self) -> PageOpenResult:
        return await self._page.open()

    async def join(self, genesis: Genesis) -> None:
        """Enters the network of `genesis` and keeps its file. Entering the same one again does nothing.

        Raises:
            UserError: another network, or this clinic is not among its founders.
        """
        async with self._joining:
            self._check(genesis)
            keep_genesis(self._config.network.genesis, genesis)
            if self._part is None:
                await self._enter(genesis)

    async def visit(self, signed: SignedInvitation) -> Genesis:
        """The genesis file of the network that an invitation leads to, asked of its inviter.

        Raises:
            UserError: ROLE, INVITATION, TERMS, WRONG_NETWORK, UNREACHABLE or GENESIS.
        """
        keys = self._clinic_keys()
        invitation = verify_invitation(signed)
        check_invitation(invitation, now_ms=self._clock.wall_ms(), terms_hash=TERMS_HASH)
        known = load_genesis(self._config.network.genesis)
        if known is not None:
            check_same_network(known, invitation.network)
            return known
        transport = self._parts.visitor(invitation, keys.clinic.identity_seed)
        inviter = Inviter(transport, invitation)
        async with trio.open_nursery() as nursery:
            await nursery.start(transport.run)
            genesis = await inviter.genesis()
            nursery.cancel_scope.cancel()
        return genesis

    async def apply(self, signed: SignedInvitation) -> Part:
        """Keeps the invitation, whose terms were accepted, and asks to be admitted, now and after every
        start. Where this clinic has followed the ledger that far already, nothing changes.

        Raises:
            UserError: as `visit`.
        """
        genesis = await self.visit(signed)
        async with self._joining:
            if self._part is not None and not _may_apply(self._part.node):
                return self._part.node
            assert self._admission is not None, "only a clinic visits"
            self._admission.keep(signed)
            keep_genesis(self._config.network.genesis, genesis)
            if self._part is not None:
                await self._leave(self._part)
            return (await self._enter(genesis)).node

    def keys(self) -> KeysResult:
        """Raises UserError ROLE where this is no clinic."""
        keys = self._clinic_keys()
        return KeysResult(
            id=self._own.identity.hex(),
            fingerprint=fingerprint(self._own.identity),
            vote_key=keys.present.public.hex(),
            vote_fingerprint=fingerprint(keys.present.public),
            generation=keys.clinic.generation,
            is_protected=self._own.is_protected,
            is_rotating=keys.next is not None,
            final=keys.next is None,
        )

    async def rotate(self) -> KeysResult:
        """Asks the network to count a new vote key of this clinic, and waits a while until it does.

        Raises:
            UserError: ROLE, MEMBERSHIP, KEY_FILE: this is no clinic, no member, or the disk failed.
            Rejected: the ledger does not take another key yet.
        """
        keys = self._clinic_keys()
        clinic = None if self._part is None else self._part.node
        if not isinstance(clinic, Clinic):
            raise UserError(
                "this clinic is in no network that counts its vote key",
                "join one first: chartmesh network join",
                code=Code.MEMBERSHIP,
            )
        self._rotated = trio.Event()
        await clinic.members.rotate(await keys.make_next())
        with trio.move_on_after(limits.FINAL_S):
            await self._rotated.wait()
        return self.keys()

    async def _enter(self, genesis: Genesis) -> RunningPart:
        self._check(genesis)
        assert self._nursery is not None
        application = None if self._admission is None else self._admission.application(genesis)
        match self._keys:
            case VoteKeys() as keys if application is not None and not application.admitted:
                part = self._parts.applicant(genesis, application, keys)
            case VoteKeys() as keys:
                part = self._parts.clinic(genesis, keys, application)
            case WalletFile() as wallet:
                part = self._parts.light(genesis, wallet)
        await self._nursery.start(part.run)
        self._part = part
        self._answers.joined = Joined(part.node, part.transport, self._keeping(part.node, genesis))
        _log.info("in the network %s as %s", genesis.name, type(part.node).__name__)
        match part.node:
            case Applicant() as applicant:
                self._nursery.start_soon(self._await_admission, part, applicant)
            case Clinic() as clinic:
                self._nursery.start_soon(self._follow_vote_key, part, clinic)
        return part

    async def _leave(self, part: RunningPart) -> None:
        with trio.move_on_after(limits.SHUTDOWN_GRACE_S):
            await part.node.drain()
        part.leaving.set()
        await part.left.wait()
        self._part = self._answers.joined = None

    async def _await_admission(self, part: RunningPart, applicant: Applicant) -> None:
        """Turns a clinic that was admitted into an ordinary one."""
        await applicant.admitted.wait()
        async with self._joining:
            if self._part is part and self._admission is not None:
                self._admission.mark_admitted(applicant.genesis)
                await self._leave(part)
                await self._enter(applicant.genesis)

    async def _follow_vote_key(self, part: RunningPart, clinic: Clinic) -> None:
        """Starts the services anew once the ledger counts this clinic's next vote key."""
        keys, ledger = self._clinic_keys(), clinic.services.ledger
        while self._part is part:
            own = ledger.state.member(self._own.identity)
            if own is not None and await keys.adopt(own.vote_key):
                async with self._joining:
                    await self._leave(part)
                    await self._enter(clinic.genesis)
                self._rotated.set()
                return
            await ledger.wait_advanced()

    def _keeping(self, node: Part, genesis: Genesis) -> Keeping:
        subject = Subject(
            role=self._own.role,
            id=self._own.identity.hex(),
            name=self._own.name,
            network=network_id(genesis).hex(),
            program=program_version(),
            data_dir=self._config.node.data_dir,
        )
        return keeping_of(
            node, subject, quota_bytes=self._own.quota_bytes, clock=self._clock, offload=self._offload
        )

    def _clinic_keys(self) -> VoteKeys:
        """Raises UserError ROLE where this is no clinic."""
        if isinstance(self._keys, WalletFile):
            raise UserError(
                "this is a patient's light client, and only a clinic can do this",
                "a patient joins with the genesis file: chartmesh network join GENESIS",
                code=Code.ROLE,
            )
        return self._keys

    def _check(self, genesis: Genesis) -> None:
        """Raises UserError GENESIS, WRONG_NETWORK: this clinic has no right to this network."""
        if self._admission is not None:
            self._admission.check(genesis)


def _may_apply(node: Part) -> bool:
    """Whether an invitation helps: to be admitted, or to reach the ledger by another member than before."""
    return isinstance(node, Applicant) or (isinstance(node, Clinic) and node.services.guide.is_arriving)


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
