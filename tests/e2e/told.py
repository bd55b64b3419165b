"""What failing commands say: one error, in two lines to people and as JSON to scripts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from node.demo.stage import Actor

T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """An error as scripts and people get it."""

    status: int
    code: str
    error: str
    hint: str

    @property
    def kind(self) -> tuple[int, str]:
        return self.status, self.code


async def refused(actor: Actor, *arguments: str) -> Told:
    """What a command that must fail says: in two lines to people, and the same to scripts."""
    to_people, to_scripts = await together(
        partial(actor.run, *arguments), partial(actor.run, *arguments, "--json")
    )
    told = to_scripts.error()
    assert (told["v"], told["type"]) == (1, "error")
    assert to_people.stderr.decode() == f"error: {told['error']}\nhint: {told['hint']}\n"
    assert to_people.stdout == to_scripts.stdout == b""
    assert to_people.status == to_scripts.status
    assert told["error"]
    assert told["hint"]
    return Told(to_scripts.status, told["code"], told["error"], told["hint"])


async def together(*acts: Callable[[], Awaitable[T]]) -> list[T]:
    """What each of `acts` returns, in order: a command takes a while to begin."""
    returned: dict[int, T] = {}

    async def do(index: int) -> None:
        returned[index] = await acts[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(acts)):
            nursery.start_soon(do, index)
    return [returned[index] for index in range(len(acts))]
