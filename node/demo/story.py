"""The story of the demo: eight steps, each with what must hold before the next begins."""

import hashlib
import secrets  # noqa: TID251
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from node.demo.stage import Actor, Answer, Stage, StoryBroken
from node.samples import open_samples
from protocol.exits import DONE, IN_PART

PATIENCE_S: Final = 30.0
POLL_S: Final = 0.1
REFUSED: Final = 4
PURPOSE: Final = "TREAT"

Step = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One clinic refused one request of one user."""

    server: str
    user: str


@dataclass(slots=True)
class Story:
    """Plays on a stage. Each step returns what it found, or raises StoryBroken."""

    stage: Stage
    tokens: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    grant: str = ""
    stopped_s: float = 0.0
    issuer: str = "clinic-a"
    reader: str = ""
    other: str = ""

    def steps(self) -> list[tuple[str, Step]]:
        return [
            ("four clinics found a network and find each other", self.found),
            ("a clinic adds real records to the patient's keys", self.add),
            ("a clinic without a grant is refused, as if there were nothing", self.refuse),
            ("the patient shares with one clinic, for one purpose", self.share),
            ("a clinic is killed; the rest goes on, from a replica", self.kill),
            ("the patient stops sharing", self.stop),
            ("the killed clinic comes back and agrees", self.come_back),
            ("the patient sees who read, and who tried", self.who),
        ]

    async def found(self) -> str:
        stage = self.stage
        await stage.each_clinic(lambda one: one.ask("init"))
        cards = [str(one.data_dir / "card") for one in stage.clinics.values()]
        first = next(iter(stage.clinics.values()))
        made = await first.ask("network", "create", "--name", "demo", "-o", str(stage.genesis), *cards)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.patient.ask, "init")
            nursery.start_soon(stage.each_clinic, lambda one: one.ask("start"))
        for one in made["members"]:
            self.ids[one["name"]] = one["id"]
        await stage.each_clinic(self.meets_all)
        status = await first.status()
        return f"{status['members']} validators, quorum {status['quorum']}"

    async def add(self) -> str:
        clinic, patient = self._clinic(self.issuer), self.stage.patient
        code = (await patient.ask("my", "code", "--clinic", self.issuer, "--count", "2"))["code"]
        files = []
        for sample in open_samples():
            path = self.stage.root / sample.name
            path.write_bytes(sample.bytes)
            files.append(str(path))
        added = (await clinic.ask("record", "add", *files, "--for", code))["records"]
        for one in added:
            _require(one["final"], f"{one['file']} is not final")
            _require(one["copies"] == 3, f"{one['file']} has {one['copies']} copies")
        self.tokens = [one["token"] for one in added]
        holders = set(added[0]["holders"])
        self.reader = next(name for name, identity in self.ids.items() if identity not in holders)
        self.other = next(name for name in self.ids if name not in (self.issuer, self.reader))
        mine = {one["token"] for one in (await patient.ask("my", "records"))["records"]}
        _require(set(self.tokens) == mine, "the patient does not see her records")
        sizes = ", ".join(f"{one['file']} {one['size']:,} bytes" for one in added)
        return f"{sizes}; 3 copies each; {self.reader} holds none of the first"

    async def refuse(self) -> str:
        reader = self._clinic(self.reader)
        nothing = secrets.token_hex(32)
        real = await self._refused(reader, self.tokens[0], "asks for a record")
        unreal = await self._refused(reader, nothing, "asks for nothing")
        _require(
            {one["sha256"] for one in real} == {one["sha256"] for one in unreal}
            and len({one["sha256"] for one in real + unreal}) == 1,
            "a refusal differs from an absence on the wire",
        )
        told = [
            await self._get(reader, token, "asks again", "-o", "-") for token in (self.tokens[0], nothing)
        ]
        _require(told[0] == told[1], "a refusal differs from an absence on the terminal")
        self._note_refusals(real, "asks again")
        return f"{len(real)} clinics sent the same {real[0]['sha256'][:12]}… for both"

    async def share(self) -> str:
        reader, other = self._clinic(self.reader), self._clinic(self.other)
        self.grant = await self._share(self.tokens[0], self.reader)
        source = await self._fetches(reader, "reads for treatment")
        await self._refused(reader, self.tokens[0], "asks for research", "HRESCH")
        await self._refused(other, self.tokens[0], "has no grant")
        body = (await reader.ask("access", "show", self.grant))["grant"]["body"]
        copied = self.stage.root / "copied-grant"
        copied.write_text(body)
        await self._refused(other, self.tokens[0], "copied a grant", PURPOSE, "--grant", str(copied))
        return f"identical bytes from {source}; research, no grant and a copied grant refused"

    async def kill(self) -> str:
        self._clinic(self.issuer).send_signal(signal.SIGKILL)
        begun = trio.current_time()
        await self._share(self.tokens[1], self.other)
        final_s = trio.current_time() - begun
        source = await self._fetches(self._clinic(self.reader), "reads after the kill")
        _require(source != self.issuer, "a dead clinic served a record")
        return f"{self.issuer} killed; a grant final after {final_s:.1f} s; the record came from {source}"

    async def stop(self) -> str:
        self.stopped_s = trio.current_time()
        answer = await self.stage.patient.run("my", "stop", self.grant, "--json")
        _require(answer.status in (0, 3), f"my stop exited {answer.status}: {answer.stderr.decode()}")
        stopped = answer.document()
        _require(stopped["final"], "the revocation is not final")
        _require(
            set(stopped["unreached"]) == {self.ids[self.issuer]}, "other clinics than the dead were missed"
        )
        times = await self._times_to_refuse("asks after the stop")
        return f"refused after {times}; {self.issuer} is down, bound {stopped['bound_s']} s"

    async def come_back(self) -> str:
        issuer = self._clinic(self.issuer)
        await issuer.ask("start")
        with trio.move_on_after(PATIENCE_S):
            while True:
                heights, roots = await self._heads()
                if len(heights) == 1:
                    break
                await trio.sleep(POLL_S)
        _require(len(heights) == len(roots) == 1, f"the clinics differ: heights {heights}, roots {roots}")
        await self.meets_all(issuer)
        times = await self._times_to_refuse("asks the one that came back", wanted=self.issuer)
        return f"height {heights.pop()}, state root {roots.pop()[:16]}… at all four; refused after {times}"

    async def who(self) -> str:
        told = await self._told_by_all()
        accesses = [one for one in told["accesses"] if one["token"] == self.tokens[0]]
        listed = {(one["server_name"], one["user"], one["outcome"]) for one in accesses}
        for refusal in self.refusals:
            _require(
                (refusal.server, refusal.user, "refused") in listed,
                f"the refusal of «{refusal.user}» by {refusal.server} is not listed",
            )
        for user in self.served:
            _require(
                any(user == one["user"] and one["outcome"] == "served" for one in accesses),
                f"the access of «{user}» is not listed",
            )
        entries = 0
        for clinic in self.stage.clinics.values():
            verified = await clinic.ask("audit", "verify")
            _require(verified["ok"], f"the audit chain of {clinic.name} is broken")
            entries += verified["entries"]
        served = sum(one["outcome"] == "served" for one in accesses)
        return (
            f"{served} accesses and {len(accesses) - served} refusals; 4 chains of {entries} records verify"
        )

    # What several steps need.

    def _clinic(self, name: str) -> Actor:
        return self.stage.clinics[name]

    async def meets_all(self, clinic: Actor) -> None:
        """Waits until a clinic reaches all others and may serve."""
        status: dict[str, Any] = {}
        with trio.move_on_after(PATIENCE_S):
            while True:
                status = await clinic.status()
                if status["fresh"] and status["reachable"] == status["members"] == len(self.stage.clinics):
                    return
                await trio.sleep(POLL_S)
        raise StoryBroken(f"{clinic.name} does not reach the others: {status.get('warnings')}")

    async def _told_by_all(self) -> dict[str, Any]:
        """What the patient is told of who read, once she reaches every clinic again."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                answer = await self.stage.patient.run("my", "who", "--rows", "1000", "--json")
                if answer.status == DONE:
                    return answer.document()
                _require(
                    answer.status == IN_PART, f"my who exited {answer.status}: {answer.stderr.decode()}"
                )
        raise StoryBroken("a clinic's audit log is missing")

    async def _share(self, token: str, clinic: str) -> str:
        """Shares a record and waits until the clinic has found the grant."""
        shared = await self.stage.patient.ask(
            "my", "share", token, "--with", clinic, "--for", "30d", "--purpose", "treatment"
        )
        grant: str = shared["grants"][0]["grant"]
        with trio.move_on_after(PATIENCE_S):
            while True:
                held = (await self._clinic(clinic).ask("access", "list"))["grants"]
                if any(one["grant"] == grant for one in held):
                    return grant
                await trio.sleep(POLL_S)
        raise StoryBroken(f"{clinic} does not find the grant")

    async def _get(self, clinic: Actor, token: str, user: str, *options: str) -> Answer:
        return await clinic.run("record", "get", token, "--as", user, "--purpose", PURPOSE, *options)

    async def _fetches(self, clinic: Actor, user: str) -> str:
        """Fetches the first record as `user`; the clinic that served it, for identical bytes."""
        folder = self.stage.root / "fetched" / user.replace(" ", "-")
        folder.mkdir(parents=True)
        answer = await self._get(clinic, self.tokens[0], user, "-o", str(folder), "--json")
        _require(answer.status == 0, f"{clinic.name} cannot read: {answer.stderr.decode()}")
        got = answer.document()
        original = open_samples()[0].bytes
        [saved] = folder.iterdir()
        _require(saved.read_bytes() == original, "the bytes are not those of the original")
        _require(got["sha256"] == hashlib.sha256(original).hexdigest(), "another hash than the original's")
        self.served.append(user)
        return self._name(got["source"])

    async def _refused(
        self, clinic: Actor, token: str, user: str, purpose: str = PURPOSE, *options: str
    ) -> list[dict[str, str]]:
        """Asks for a record and must be refused; what each clinic sent."""
        answer = await clinic.run(
            "record",
            "get",
            token,
            "--as",
            user,
            "--purpose",
            purpose,
            "-o",
            str(self._unread()),
            *options,
            "--json",
        )
        _require(answer.status == REFUSED, f"«{user}» of {clinic.name} exited {answer.status}")
        _require(not any(self._unread().iterdir()), f"«{user}» of {clinic.name} got bytes")
        refusals: list[dict[str, str]] = answer.error().get("refusals", [])
        _require(bool(refusals), f"nobody refused «{user}» of {clinic.name}")
        if token == self.tokens[0]:
            self._note_refusals(refusals, user)
        return refusals

    def _unread(self) -> Path:
        """Where a refused request would save what it must not get."""
        folder = self.stage.root / "refused"
        folder.mkdir(exist_ok=True)
        return folder

    def _note_refusals(self, refusals: list[dict[str, str]], user: str) -> None:
        self.refusals.extend(Refusal(self._name(one["member"]), user) for one in refusals)

    async def _times_to_refuse(self, user: str, wanted: str = "") -> str:
        """Asks as the former reader; when each clinic refused, counted from the patient's stop."""
        refusals = await self._refused(self._clinic(self.reader), self.tokens[0], user)
        names = [self._name(one["member"]) for one in refusals]
        _require(not wanted or wanted in names, f"{wanted} was not asked, or did not refuse")
        elapsed_s = trio.current_time() - self.stopped_s
        return ", ".join(f"{elapsed_s:.1f} s at {name}" for name in names if wanted in ("", name))

    async def _heads(self) -> tuple[set[int], set[str]]:
        """The heights and state roots of all clinics, read close together."""
        found: list[tuple[int, str]] = []

        async def read(clinic: Actor) -> None:
            status = await clinic.status()
            found.append((status["height"], status["state_root"]))

        await self.stage.each_clinic(read)
        return {height for height, _ in found}, {root for _, root in found}

    def _name(self, identity: str) -> str:
        return next((name for name, one in self.ids.items() if one == identity), identity[:12])


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise StoryBroken(otherwise)
