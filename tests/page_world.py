"""The page's door in front of answers that a test writes down, and browsers that speak to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import trio

from node.adapters import SystemClock, SystemEntropy
from node.ports import Clock
from node.web.door import PageDoor
from protocol import control
from tests.control_world import STATUS, Answer, Script

PATIENCE_S = 60.0  # with a page that draws pictures, on a machine that has other work
TOKEN, GRANT = "ab" * 32, "cd" * 32
CLINIC_A, CLINIC_B = "02" * 33, "03" * 33
TITLE = "Blood <b>count</b> & more"
SHARED = control.GrantItem(
    grant=GRANT,
    token=TOKEN,
    grantee=CLINIC_B,
    grantee_name="clinic-b",
    purposes=("TREAT",),
    not_after="2026-12-23T12:00:00.000Z",
    final=True,
    title=TITLE,
)
RECORD = control.MyRecordItem(
    token=TOKEN,
    issuer=CLINIC_A,
    issuer_name="clinic-a",
    time="2026-11-25T12:00:00.000Z",
    title=TITLE,
    type="fhir",
    size=2048,
    grants=(SHARED,),
)
MEMBERS = control.MembersResult(
    members=tuple(
        control.MemberItem(
            id=identity, name=name, role="validator", reachable=True, last_height=7, votes=True, is_self=own
        )
        for identity, name, own in ((CLINIC_A, "clinic-a", True), (CLINIC_B, "clinic-b", False))
    )
)
PATIENT: dict[type, Answer | control.Document] = {
    control.Status: STATUS,
    control.Members: MEMBERS,
    control.MyRecords: control.MyRecordsResult(records=(RECORD,)),
    control.MyPersons: control.MyPersonsResult(
        persons=(control.PersonItem(name="Alice", number=0, records=1),)
    ),
    control.MyShares: control.MySharesResult(grants=(SHARED,)),
    control.MyShare: control.MyShareResult(grants=(SHARED,)),
    control.MyWho: control.MyWhoResult(accesses=()),
    control.MyStop: control.MyStopResult(
        stops=(
            control.Stopped(
                grant=GRANT,
                final=True,
                stopped_at=(CLINIC_A,),
                unreached=(CLINIC_B,),
                bound_s=90,
                grantee_name="clinic-b",
            ),
        )
    ),
}


@dataclass(frozen=True)
class World:
    """An open door, and what the node behind it was asked."""

    door: PageDoor
    script: Script
    client: httpx.AsyncClient
    base: str

    @property
    def origin(self) -> str:
        return self.base.rsplit("/", 1)[0]

    @property
    def port(self) -> int:
        return int(self.origin.rsplit(":", 1)[1])

    @property
    def root(self) -> str:
        return "/" + self.base.rsplit("/", 1)[1]

    async def link(self) -> str:
        return (await self.door.open()).url

    async def enter(self) -> httpx.Response:
        """Follows a new link, as a browser does."""
        return await self.client.get(await self.link())

    async def get(self, path: str, **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.client.get(self.base + path, headers=named)

    async def post(self, path: str, form: Mapping[str, str | list[str]], **headers: str) -> httpx.Response:
        named = {"origin": self.origin} | {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.client.post(self.base + path, data=dict(form), headers=named)

    async def csrf(self) -> str:
        """The secret that forms of this session carry."""
        text = (await self.get("/")).text
        return text.split('name="csrf" value="', 1)[1].split('"', 1)[0]


@asynccontextmanager
async def open_world(
    answers: dict[type, Answer | control.Document] | None = None,
    *,
    role: str = "light",
    clock: Clock | None = None,
) -> AsyncIterator[World]:
    """A page of a scripted node for as long as the block runs."""
    script = Script(PATIENT if answers is None else answers)
    door = PageDoor(role=role, answerer=script, clock=clock or SystemClock(), entropy=SystemEntropy())
    async with trio.open_nursery() as nursery:
        await nursery.start(door.run)
        base = (await door.open()).url.rsplit("/", 2)[0]
        async with httpx.AsyncClient(timeout=PATIENCE_S, follow_redirects=True, trust_env=False) as client:
            yield World(door, script, client, base)
        nursery.cancel_scope.cancel()
