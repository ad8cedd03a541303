"""A record on its way is waited for as a future is: by callbacks, by who awaits, by both."""

import asyncio

import pytest

from sidecar.record.recorder.worker.link import Frame, Pending
from sidecar.terms.errors import RecordError


def sent(count: int) -> tuple[Frame, list[Pending]]:
    frame = Frame(is_outcome=False)
    frame.pending = [Pending() for _ in range(count)]
    return frame, list(frame.pending)


async def turns(count: int = 4) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_are_told_in_order_and_not_before() -> None:
    frame, waiting = sent(3)
    told: list[int] = []
    for number, one in enumerate(waiting):
        one.add_done_callback(lambda _, number=number: told.append(number))  # type: ignore[misc]

    await turns()
    assert (told, waiting[0].done()) == ([], False)
    frame.tell(asyncio.get_running_loop(), None)
    await turns()

    assert (told, [one.exception() for one in waiting]) == ([0, 1, 2], [None] * 3)


async def test_one_may_be_called_back_by_several_and_awaited_by_several() -> None:
    frame, (one,) = sent(1)
    told: list[str] = []
    one.add_done_callback(lambda _: told.append("first"))
    one.add_done_callback(lambda _: told.append("second"))
    awaiting = [asyncio.create_task(_awaited(one)) for _ in range(2)]
    await turns()

    frame.tell(asyncio.get_running_loop(), None)
    await asyncio.gather(*awaiting)
    await one
    one.add_done_callback(lambda _: told.append("late"))
    await turns()

    assert told == ["first", "second", "late"]


async def test_who_gives_up_waiting_leaves_the_others_waiting() -> None:
    frame, (one,) = sent(1)
    leaving, staying = (asyncio.create_task(_awaited(one)) for _ in range(2))
    await turns()

    leaving.cancel()
    await turns()
    frame.tell(asyncio.get_running_loop(), None)
    await staying

    assert leaving.cancelled()


async def test_what_is_lost_is_an_error_for_each_who_waits() -> None:
    frame, (one,) = sent(1)
    frame.tell(asyncio.get_running_loop(), "no space is left")
    await turns()

    for _ in range(2):
        with pytest.raises(RecordError, match="no space is left"):
            await one
    assert isinstance(one.exception(), RecordError)


async def test_whoever_fails_at_being_told_does_not_keep_the_others_waiting() -> None:
    frame, waiting = sent(3)
    failed: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failed.append(context.get("exception"))
    )
    told: list[int] = []
    waiting[0].add_done_callback(lambda _: told.append(0))
    waiting[1].add_done_callback(lambda _: 1 // 0)
    waiting[2].add_done_callback(lambda _: told.append(2))

    frame.tell(asyncio.get_running_loop(), None)
    await turns()

    assert told == [0, 2]
    assert [type(one) for one in failed] == [ZeroDivisionError]


async def _awaited(one: Pending) -> None:
    await one
