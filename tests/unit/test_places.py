"""Places that are shared fairly: order, bounds, cancellation, the end."""

import trio
import trio.testing

from node.records.places import Places


async def hold(places: Places, holder: str, entered: list[str], until: trio.Event) -> None:
    async with places.taken_by(holder):
        entered.append(holder)
        await until.wait()


async def test_one_holder_cannot_take_all_places(nursery: trio.Nursery) -> None:
    places, entered, never = Places(4, each=2), list[str](), trio.Event()
    for holder in "aaaab":
        nursery.start_soon(hold, places, holder, entered, never)
        await trio.testing.wait_all_tasks_blocked()
    assert entered == ["a", "a", "b"]
    nursery.cancel_scope.cancel()


async def test_a_free_place_goes_to_whom_holds_fewest(nursery: trio.Nursery) -> None:
    places, entered = Places(2, each=2), list[str]()
    first, second, never = trio.Event(), trio.Event(), trio.Event()
    nursery.start_soon(hold, places, "a", entered, first)
    nursery.start_soon(hold, places, "a", entered, second)
    await trio.testing.wait_all_tasks_blocked()
    for holder in "aab":
        nursery.start_soon(hold, places, holder, entered, never)
        await trio.testing.wait_all_tasks_blocked()
    first.set()
    await trio.testing.wait_all_tasks_blocked()
    assert entered == ["a", "a", "b"]
    second.set()
    await trio.testing.wait_all_tasks_blocked()
    assert entered == ["a", "a", "b", "a"]
    nursery.cancel_scope.cancel()


async def test_who_is_cancelled_while_waiting_takes_no_place(nursery: trio.Nursery) -> None:
    places, entered = Places(1, each=1), list[str]()
    first, never = trio.Event(), trio.Event()
    nursery.start_soon(hold, places, "a", entered, first)
    await trio.testing.wait_all_tasks_blocked()
    async with trio.open_nursery() as impatient:
        impatient.start_soon(hold, places, "b", entered, never)
        await trio.testing.wait_all_tasks_blocked()
        # Given and cancelled in the same moment.
        first.set()
        impatient.cancel_scope.cancel()
    nursery.start_soon(hold, places, "c", entered, never)
    await trio.testing.wait_all_tasks_blocked()
    assert entered == ["a", "c"]
    nursery.cancel_scope.cancel()


async def test_once_closed_none_is_given_and_the_last_to_leave_ends_it(nursery: trio.Nursery) -> None:
    places, entered = Places(1, each=1), list[str]()
    first, closed = trio.Event(), list[bool]()
    nursery.start_soon(hold, places, "a", entered, first)
    await trio.testing.wait_all_tasks_blocked()

    async def close() -> None:
        await places.close()
        closed.append(True)

    nursery.start_soon(close)
    nursery.start_soon(hold, places, "b", entered, first)
    await trio.testing.wait_all_tasks_blocked()
    assert not closed
    first.set()
    await trio.testing.wait_all_tasks_blocked()
    assert closed
    assert entered == ["a"]
    nursery.cancel_scope.cancel()
