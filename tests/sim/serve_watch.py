"""The outside observer of who is served: sees every frame of the `blob` protocol that an honest clinic
sends and every revocation that reaches it, and has the rules judge them."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from node.chain.gossip import URGENT
from node.records.serving import PROTOCOL, REFUSAL
from node.store import layout
from node.store.memory import MemoryStore
from protocol import limits
from protocol.access import SignedFetchRequest, VerifiedFetch, verify_fetch
from protocol.audit import AuditRecord
from protocol.codec import decode
from protocol.errors import Malformed
from protocol.keys import PublicKey
from protocol.ledger import may_revoke
from protocol.mempool import VerifiedCache
from protocol.messages.blob import (
    ChunkFrame,
    CopyGo,
    CopyRequest,
    FetchCall,
    Nonce,
    PacedCall,
    Refusal,
    Serve,
    decode_blob_question,
    decode_blob_reply,
    decode_chunk_frame,
)
from protocol.messages.consensus import Submission
from protocol.transactions import GrantId, Revoke, TokenId, VerifiedTransaction
from tests.sim.clock import EPOCH_MS
from tests.sim.final_states import FinalStates
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.serve_rules import (
    RUNNING_S,
    Moment,
    check_clock,
    check_copy,
    check_dates,
    check_entitled,
    check_fresh,
    check_log,
    check_not_revoked,
    check_refusal,
    check_written,
    promised_ms,
)
from tests.sim.streams import SimStream
from tests.sim.world import Violation

T = TypeVar("T")
GrantName = tuple[TokenId, GrantId]
LOOK_MS = 1_000
RUNNING_MS = 1_000 * RUNNING_S


@dataclass(slots=True)
class _Serving:
    """An answer that goes on: what was asked, under which intent, and how long it may be stale."""

    fetch: VerifiedFetch
    sequence: int
    max_stale_ms: int
    stale_since_ms: int | None = None
    chunks: int = 0


@dataclass(slots=True)
class _Exchange:
    """Where one stream of a server stands."""

    nonce: bytes = b""
    asked: SignedFetchRequest | None = None
    asked_ms: int = 0
    serving: _Serving | None = None
    copying: CopyRequest | None = None

    def ask(self, signed: SignedFetchRequest, now_ms: int) -> None:
        self.asked, self.asked_ms, self.serving, self.copying = signed, now_ms, None, None

    def ask_copy(self, request: CopyRequest) -> None:
        self.asked, self.serving, self.copying = None, None, request


@dataclass
class _Server:
    """What was seen of one clinic. `seen_revoked` is by life, for what a crash may take; `denied` is what
    was durable once and therefore counts for ever. Times are true ones, ms."""

    node: SimNode
    nonces: set[bytes] = field(default_factory=set)
    sent: dict[int, int] = field(default_factory=dict)
    seen_revoked: dict[tuple[int, GrantName], int] = field(default_factory=dict)
    denied: dict[GrantName, int] = field(default_factory=dict)
    off_since_ms: int | None = None


class ServeWatch:
    """Watches the clinics of one cluster from now on. `served`, `copied` and `refused` count what was seen.

    A clinic that reads its own copy does so inside itself, and is not seen.
    """

    def __init__(self, cluster: Cluster, network: SimNetwork) -> None:
        self._cluster, self._world = cluster, cluster.world
        self._limits = cluster.genesis.limits
        self._verified = VerifiedCache(cluster.network_id)
        self._states = FinalStates(cluster)
        self._servers = {node.identity: _Server(node) for node in cluster.honest()}
        self._exchanges: defaultdict[SimStream, _Exchange] = defaultdict(_Exchange)
        self._revocations: dict[GrantName, VerifiedTransaction] = {}
        self.served = self.copied = self.refused = 0
        network.hearing_watches.append(self._sees_gossip)
        network.read_watches.append(self._sees_read)
        network.frame_watches.append(self._sees_frame)

    def look(self) -> None:
        """Looks at every clock and disk, now and every simulated second from now on."""
        for server in self._servers.values():
            self._judge(self._look_at, server)
        self._world.timeline.after(LOOK_MS, self.look)

    def check_logs(self) -> None:
        """A2 for every disk, and no intent left open where the clinic runs and serves nothing now."""
        for server in self._servers.values():
            name, store = server.node.name, server.node.disk.audit
            raws = [raw for _, raw in MemoryStore.iterate(store, layout.AUDIT)]
            records = [decode(AuditRecord, raw, limit=limits.MIB) for raw in raws]
            member = self._states.at(server.node)[1].member(server.node.identity)
            posted = (member.audit_sequence, member.audit_head) if member is not None else (0, b"")
            left_open = check_log(records, server.sent, posted if posted[0] else None)
            if left_open and server.node.is_up:
                raise Violation("A1", f"{name} never said what became of {sorted(left_open)}")

    def _look_at(self, server: _Server) -> None:
        now_ms, node = self._now_ms(), server.node
        off_ms = abs(node.clock.wall_ms() - self._true_ms())
        is_off = off_ms > 2 * self._limits.tolerance_ms
        server.off_since_ms = (server.off_since_ms or now_ms) if is_off else None
        self._states.at(node)
        for name in self._states.grants:
            if node.disk.ledger.synced(layout.denied(*name)) is not None:
                server.denied.setdefault(name, now_ms)

    # Revocations on their way.

    def _sees_gossip(self, hearer: PublicKey, topic: str, payload: bytes) -> None:
        server = self._servers.get(hearer)
        if topic != URGENT or server is None:
            return
        try:
            transaction = self._verified.verify(
                decode(Submission, payload, limit=limits.GOSSIP_BYTES_MAX).transaction
            )
        except Malformed:
            return
        if isinstance(transaction.body, Revoke):
            name = (transaction.body.token, transaction.body.grant_id)
            self._revocations[name] = transaction
            server.seen_revoked.setdefault((server.node.lives, name), self._now_ms())
            self._world.timeline.after(1, self._judge, self._check_kept, (server, server.node.lives, name))

    def _check_kept(self, heard: tuple[_Server, int, GrantName]) -> None:
        """S3: a moment later a crash cannot take it any more, if it is of a grant known there."""
        server, life, name = heard
        node = server.node
        if node.lives != life or not node.is_up or node.is_disk_failing or node.disk.ledger.is_full:
            return
        if node.disk.ledger.synced(layout.denied(*name)) is not None:
            server.denied.setdefault(name, self._now_ms())
        elif self._counts(node, name):
            raise Violation("S3", f"{node.name} saw a revocation and would forget it in a crash")

    def _counts(self, node: SimNode, name: GrantName) -> bool:
        """Whether a revocation that was heard is of a grant that is live in this node's ledger."""
        state = self._states.at(node)[1]
        transaction, grant = self._revocations[name], state.grant(*name)
        assert isinstance(transaction.body, Revoke)
        is_valid = may_revoke(state, transaction.body, transaction.signers[0])
        return bool(is_valid) and grant is not None and not grant.revoked

    def _seen_revoked_ms(self, server: _Server, name: GrantName) -> int | None:
        """Since when this clinic must know that a grant has ended."""
        heard = server.seen_revoked.get((server.node.lives, name))
        if heard is not None and not self._counts(server.node, name):
            heard = None  # not by one who may, or final by now, which S1 judges
        times = [at_ms for at_ms in (heard, server.denied.get(name)) if at_ms is not None]
        return min(times, default=None)

    # Frames.

    def _sees_read(self, reader: SimStream, frame: bytes) -> None:
        if reader.protocol != PROTOCOL or not reader.is_server or reader.local not in self._servers:
            return
        try:
            question = decode_blob_question(frame)
        except Malformed:
            return
        if isinstance(question, FetchCall | PacedCall):
            self._exchanges[reader].ask(question.signed, self._now_ms())
        elif isinstance(question, CopyRequest):
            self._exchanges[reader].ask_copy(question)

    def _sees_frame(self, sender: SimStream, frame: bytes | None) -> None:
        server = self._servers.get(sender.local)
        if sender.protocol != PROTOCOL or not sender.is_server or server is None:
            return
        if frame is None:
            self._exchanges.pop(sender, None)
        else:
            self._judge(partial(self._look_at_reply, server, self._exchanges[sender], sender.peer), frame)

    def _look_at_reply(self, server: _Server, exchange: _Exchange, peer: PublicKey, raw: bytes) -> None:
        try:
            reply = decode_blob_reply(raw)
        except Malformed:
            chunk = decode_chunk_frame(raw)
            if exchange.copying is not None:
                self._look_at_copy(server, exchange.copying, peer)
            else:
                self._look_at_chunk(server, exchange.serving, chunk)
            return
        match reply:
            case Nonce(nonce):
                if nonce in server.nonces:
                    raise Violation("S1", f"{server.node.name} gave a nonce twice")
                server.nonces.add(nonce)
                exchange.nonce = nonce
            case Refusal() if exchange.asked is not None:
                self.refused += 1
                check_refusal(raw, REFUSAL, self._now_ms() - exchange.asked_ms)
                exchange.asked, exchange.nonce = None, b""
            case Serve():
                self._look_at_serve(server, exchange, reply)
            case CopyGo() if exchange.copying is not None:
                self._look_at_copy(server, exchange.copying, peer)
                self.copied += 1
            case _:
                return

    def _look_at_serve(self, server: _Server, exchange: _Exchange, serve: Serve) -> None:
        node, sequence, signed = server.node, serve.audit_sequence, exchange.asked
        if signed is None:
            raise Violation("S1", f"{node.name} serves what nobody asked for")
        try:
            fetch = verify_fetch(signed, self._cluster.network_id)
        except Malformed as error:
            raise Violation("S1", f"{node.name} serves a request that does not verify") from error
        nonce, exchange.asked, exchange.nonce = exchange.nonce, None, b""
        header, state = self._states.at(node)
        body = check_entitled(fetch, server=node.identity, nonce=nonce, state=state, served=serve.content)
        when = Moment(self._true_ms(), node.clock.wall_ms(), header.time_ms)
        max_stale_ms = self._limits.max_stale_default_ms
        if body is not None:
            max_stale_ms = 1_000 * body.max_stale_s
            check_dates(body, when, self._limits)
        check_fresh(when, max_stale_ms, self._limits)
        check_clock(server.off_since_ms, self._now_ms(), max_stale_ms)
        exchange.serving = _Serving(fetch, sequence, max_stale_ms)
        self._check_not_ended(server, exchange.serving, late_ms=0)
        if sequence in server.sent:
            raise Violation("A1", f"{node.name} serves twice under intent {sequence}")
        raw = node.disk.audit.synced(layout.audit(sequence))
        record = None if raw is None else decode(AuditRecord, raw, limit=limits.MIB)
        check_written(record, fetch, sequence)
        server.sent[sequence] = 0
        self.served += 1

    def _look_at_chunk(self, server: _Server, serving: _Serving | None, chunk: ChunkFrame) -> None:
        node = server.node
        if serving is None:
            raise Violation("S1", f"{node.name} sends what it did not begin to serve")
        request = serving.fetch.request
        if not request.first_chunk <= chunk.index < request.first_chunk + request.chunk_count:
            raise Violation("S1", f"{node.name} sends chunk {chunk.index}, which was not asked for")
        serving.chunks += 1
        if serving.chunks > request.chunk_count:
            raise Violation("S1", f"{node.name} sends more chunks than were asked for")
        self._check_still_fresh(node, serving)
        self._check_not_ended(server, serving, late_ms=RUNNING_MS)
        server.sent[serving.sequence] += len(chunk.ciphertext)

    def _check_still_fresh(self, node: SimNode, serving: _Serving) -> None:
        """S2 for what runs on: a clock can be set in the midst of it."""
        header, _ = self._states.at(node)
        try:
            when = Moment(self._true_ms(), node.clock.wall_ms(), header.time_ms)
            check_fresh(when, serving.max_stale_ms, self._limits)
        except Violation:
            serving.stale_since_ms = serving.stale_since_ms or self._now_ms()
            if self._now_ms() > serving.stale_since_ms + RUNNING_MS:
                raise
        else:
            serving.stale_since_ms = None

    def _look_at_copy(self, server: _Server, request: CopyRequest, peer: PublicKey) -> None:
        header, state = self._states.at(server.node)
        active = [member.id_key for member in state.members() if member.is_active]
        check_copy(peer, request, server=server.node.identity, active=active, state=state)
        when = Moment(self._true_ms(), server.node.clock.wall_ms(), header.time_ms)
        check_fresh(when, self._limits.max_stale_default_ms, self._limits)

    def _check_not_ended(self, server: _Server, serving: _Serving, *, late_ms: int) -> None:
        """S3, S4 and S6: neither the grant nor a member with a part in it has ended for too long."""
        now_ms, fetch = self._now_ms(), serving.fetch
        most_ms = promised_ms(serving.max_stale_ms, self._limits) + late_ms
        for who in (server.node.identity, fetch.request.signer):
            if now_ms > self._states.ended_ms.get(who, now_ms) + most_ms:
                raise Violation("S6", f"{server.node.name} serves with one who is no member any more")
        if fetch.grant_id is not None:
            name = (fetch.request.token, fetch.grant_id)
            seen_ms, final_ms = self._seen_revoked_ms(server, name), self._states.revoked_ms.get(name)
            if final_ms is not None:
                final_ms += promised_ms(serving.max_stale_ms, self._limits)
            check_not_revoked(seen_ms, final_ms, now_ms, late_ms)

    # Inside.

    def _judge(self, check: Callable[[T], None], subject: T) -> None:
        try:
            check(subject)
        except Violation as violation:
            self._world.report(violation)

    def _now_ms(self) -> int:
        return self._world.timeline.now_ms()

    def _true_ms(self) -> int:
        return EPOCH_MS + self._now_ms()
