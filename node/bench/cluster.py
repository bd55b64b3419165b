"""Clinics as real daemons on loopback, each a process with its own databases, for benches to drive."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node import paths
from node.adapters import SystemClock, SystemEntropy
from node.bench import usage
from node.bench.workload import seed
from node.demo.stage import environment, free_ports
from node.founding import keep_genesis
from node.keystore import ClinicKeys, create_keyfile
from node.ports import PeerAddress
from node.store.votefile import create_vote_file
from protocol import limits
from protocol.blocks import VERSION, Genesis, Member, NetworkId, network_id
from protocol.control import (
    ErrorReply,
    FrameDecoder,
    Kind,
    Progress,
    Status,
    StatusResult,
    decode_reply,
    encode_request,
    frame,
)
from protocol.errors import Code, UserError
from protocol.keys import OpeningKey, SigningKey
from protocol.limits import NetworkLimits

READY_S: Final = 300.0
STOPPED_S: Final = 20.0
_POLL_S: Final = 0.002


@dataclass(slots=True)
class ClinicProcess:
    """One clinic's files, and its daemon while it runs."""

    index: int
    data_dir: Path
    keys: ClinicKeys
    member: Member
    process: "subprocess.Popen[bytes] | None" = None

    def program(self) -> list[str]:
        """The command line of the daemon, as the CLI starts it."""
        return [sys.executable, "-P", "-m", "node", "daemon", "--config", str(paths.config(self.data_dir))]

    def start(self) -> None:
        log = self.data_dir / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.program(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment()
            )

    def kill(self) -> None:
        """Ends the daemon at once, as a power cut does."""
        self._running().kill()
        self._running().wait()

    def wait_ready(self) -> StatusResult:
        """Its first status. Raises UserError UNREACHABLE where it exits or takes too long."""
        until_s = time.perf_counter() + READY_S
        while time.perf_counter() < until_s and self._running().poll() is None:
            try:
                return self.status()
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(_POLL_S)
        raise UserError(
            f"a clinic of the bench did not start: {self._last_words()}",
            "run `chartmesh demo` to see whether this machine can run clinics",
            code=Code.UNREACHABLE,
        )

    def status(self) -> StatusResult:
        """What the daemon says of itself. Raises OSError where it does not listen."""
        decoder = FrameDecoder(json_limit=limits.CONTROL_REPLY_BYTES_MAX)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(paths.socket(self.data_dir)))
            line.sendall(frame(Kind.JSON, encode_request(Status())))
            while (got := decoder.next()) is None:
                decoder.feed(line.recv(limits.CONTROL_FRAME_BYTES_MAX))
        reply = decode_reply(Status, got.payload)
        assert not isinstance(reply, ErrorReply | Progress)
        return reply

    def cpu_s(self) -> float:
        """Seconds of CPU that the daemon used so far, all threads together."""
        return usage.cpu_s(self._running().pid)

    def resident_bytes(self) -> int:
        return usage.resident_bytes(self._running().pid)

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None, "the clinic was not started"
        return self.process

    def _last_words(self) -> str:
        lines = (self.data_dir / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


class Cluster:
    """A network of `count` clinics, all of them validators. Keys are hashes of names, and in the clear."""

    def __init__(self, directory: Path, count: int) -> None:
        ports = free_ports(count)
        self.clinics = [_clinic(directory, index, port) for index, port in enumerate(ports)]
        members = tuple(clinic.member for clinic in self.clinics)
        created_ms = SystemClock().wall_ms() - limits.MINUTE_MS
        self.genesis = Genesis(VERSION, "bench", created_ms, bytes(32), NetworkLimits(), members)
        for clinic in self.clinics:
            keep_genesis(paths.genesis(clinic.data_dir), self.genesis)

    @property
    def network(self) -> NetworkId:
        return network_id(self.genesis)

    @property
    def issuers(self) -> list[SigningKey]:
        return [SigningKey(clinic.keys.identity_seed) for clinic in self.clinics]

    @property
    def addresses(self) -> list[PeerAddress]:
        return [PeerAddress(member.id_key, member.addresses) for member in self.genesis.members]

    def start(self) -> None:
        """Starts all, and returns when all answer."""
        for clinic in self.clinics:
            clinic.start()
        for clinic in self.clinics:
            clinic.wait_ready()

    def cpu_s(self) -> float:
        return sum(clinic.cpu_s() for clinic in self.clinics)

    def stop(self) -> None:
        stop([clinic.process for clinic in self.clinics if clinic.process is not None])


def stop(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Ends processes that this one started, kindly first."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(STOPPED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _clinic(directory: Path, index: int, port: int) -> ClinicProcess:
    name, data_dir = f"clinic-{index}", directory / f"clinic-{index}"
    address = f"/ip4/127.0.0.1/tcp/{port}"
    keys = ClinicKeys(
        identity_seed=seed(name, "identity"),
        vote_seed=seed(name, "vote"),
        enc_seed=seed(name, "enc"),
        at_rest_key=seed(name, "at rest"),
    )
    identity, vote = SigningKey(keys.identity_seed).public, SigningKey(keys.vote_seed).public
    member = Member(name, identity, vote, OpeningKey(keys.enc_seed).public, (address,))
    data_dir.mkdir(mode=0o700)
    create_keyfile(paths.keyfile(data_dir), keys, None, SystemEntropy())
    create_vote_file(paths.votes(data_dir))
    paths.config(data_dir).write_text(
        f'[node]\nname = "{name}"\ndata_dir = "{data_dir}"\n\n'
        f'[network]\nlisten = ["{address}"]\n\n[log]\nlevel = "warning"\n'
    )
    return ClinicProcess(index, data_dir, keys, member)
