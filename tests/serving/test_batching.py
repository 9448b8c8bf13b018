"""MicroBatcher: everybody gets the answer to their own question, in few batches, whatever fails or is cancelled."""

import asyncio
import gc
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.rl import batching
from plurality.rl.batching import MicroBatcher


class Squares:
    """A batched function that keeps what it was called with, and can be held up inside a call."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def hold(self) -> None:
        self.entered.clear()
        self.go_on.clear()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.go_on.wait(30)
        return [item**2 for item in items]


async def entered(function: Squares) -> None:
    """Wait until the function is inside a call."""
    assert await asyncio.to_thread(function.entered.wait, 30)


async def turns(n: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(n):
        await asyncio.sleep(0)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=12),
    max_batch=st.integers(1, 7),
    max_wait_s=st.sampled_from([0.0, 0.0005]),
)
def test_everybody_gets_their_own_answer(sizes, max_batch, max_wait_s):
    function = Squares()
    batcher = MicroBatcher(function, max_batch, max_wait_s)
    starts = [100 * i for i in range(len(sizes))]

    async def main():
        calls = [batcher.submit_all(range(a, a + n)) for a, n in zip(starts, sizes, strict=True)]
        return await asyncio.gather(*calls)

    answers = asyncio.run(main())
    assert answers == [[x**2 for x in range(a, a + n)] for a, n in zip(starts, sizes, strict=True)]
    assert all(1 <= len(batch) <= max_batch for batch in function.batches)
    assert len(function.batches) == -(-sum(sizes) // max_batch)  # every batch but the last is full
    assert len(function.threads) == min(1, sum(sizes))
    assert batcher.pending == 0


def test_the_next_batch_gathers_while_one_runs():
    function = Squares()
    batcher = MicroBatcher(function, max_batch=8)

    async def main():
        function.hold()
        first = asyncio.create_task(batcher.submit(1))
        await entered(function)
        others = [asyncio.create_task(batcher.submit(i)) for i in range(2, 13)]
        await turns()
        assert batcher.pending == 12
        function.go_on.set()
        return [await first, *await asyncio.gather(*others)]

    assert asyncio.run(main()) == [i**2 for i in range(1, 13)]
    assert [len(batch) for batch in function.batches] == [1, 8, 3]
    assert [i for batch in function.batches for i in batch] == list(range(1, 13))  # first come, first served


def test_a_lone_caller_never_waits():
    batcher = MicroBatcher(Squares(), max_wait_s=3600)

    async def main():
        async with asyncio.timeout(30):
            return [await batcher.submit(i) for i in range(50)]

    assert asyncio.run(main()) == [i**2 for i in range(50)]


def clocked(monkeypatch, *, takes, max_wait_s):
    """Squares whose every batch takes so many seconds of a clock that stands still else, and their batcher."""
    function, now = Squares(), [0.0]
    monkeypatch.setattr(batching, "monotonic", lambda: now[0])

    def slowly(items):
        now[0] += takes
        return function(items)

    return function, MicroBatcher(slowly, max_wait_s=max_wait_s)


def test_those_just_answered_are_waited_for(monkeypatch):
    function, batcher = clocked(monkeypatch, takes=3600, max_wait_s=3600)

    async def main():
        async with asyncio.timeout(30):
            await asyncio.gather(batcher.submit(1), batcher.submit(2))
            third = asyncio.create_task(batcher.submit(3))
            await turns()
            assert function.batches == [[1, 2]]
            return await asyncio.gather(third, batcher.submit(4))

    assert asyncio.run(main()) == [9, 16]
    assert function.batches == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("max_wait_s", "batch_takes"), [(0.001, 3600), (3600, 0.001), (0, 3600)])
def test_but_not_in_vain(monkeypatch, max_wait_s, batch_takes):
    """A silence is waited out for as long as said, all of them together for as long as a batch takes."""
    function, batcher = clocked(monkeypatch, takes=batch_takes, max_wait_s=max_wait_s)

    async def main():
        async with asyncio.timeout(30):
            await asyncio.gather(batcher.submit(1), batcher.submit(2))
            return await batcher.submit(3), await batcher.submit(4)

    assert asyncio.run(main()) == (9, 16)
    assert function.batches == [[1, 2], [3], [4]]


def test_who_does_not_come_again_is_not_waited_for(monkeypatch):
    function, batcher = clocked(monkeypatch, takes=3600, max_wait_s=3600)

    async def main():
        async with asyncio.timeout(30):
            await batcher.submit_all([1, 2], again=False)
            return await batcher.submit(3, again=False), await batcher.submit(4)

    assert asyncio.run(main()) == (9, 16)
    assert function.batches == [[1, 2], [3], [4]]


def test_an_exception_reaches_the_callers_of_its_batch_alone():
    def function(items):
        if 5 in items:
            raise KeyError("five")
        return items

    batcher = MicroBatcher(function, max_batch=4)

    async def main():
        return await asyncio.gather(*(batcher.submit(i) for i in range(12)), return_exceptions=True)

    answers = asyncio.run(main())
    assert answers[:4] + answers[8:] == [*range(4), *range(8, 12)]
    assert [repr(answer) for answer in answers[4:8]] == ["KeyError('five')"] * 4


def test_a_call_over_several_batches_fails_at_once(caplog):
    """What is left of it is not computed, nor is the second failure reported as one that nobody retrieved."""
    batches = []

    def function(items):
        batches.append(items)
        raise KeyError(items[0])

    async def main():
        with pytest.raises(KeyError, match="0"):
            await MicroBatcher(function, max_batch=2).submit_all(range(6))
        await turns()

    asyncio.run(main())
    gc.collect()  # when it goes, what nobody looked at is reported
    assert (batches, caplog.records) == ([[0, 1]], [])


@pytest.mark.parametrize(
    ("function", "message"),
    [(lambda items: items[1:], "gave 1 results for 2"), (lambda items: [next(iter(()))], "Stop")],
)
def test_a_function_that_breaks_its_promise_is_named(function, message):
    batcher = MicroBatcher(function)

    async def main():
        async with asyncio.timeout(30):
            await asyncio.gather(batcher.submit(1), batcher.submit(2))

    with pytest.raises(RuntimeError, match=message):
        asyncio.run(main())


def test_who_gives_up_disturbs_nobody():
    function = Squares()
    batcher = MicroBatcher(function)

    async def main():
        function.hold()
        running = [asyncio.create_task(batcher.submit(i)) for i in (1, 2)]
        await entered(function)
        waiting = [asyncio.create_task(batcher.submit(i)) for i in (3, 4, 5)]
        await turns()
        running[0].cancel()
        waiting[1].cancel()
        await turns()
        assert batcher.pending == 3
        function.go_on.set()
        return await asyncio.gather(*running, *waiting, return_exceptions=True)

    answers = asyncio.run(main())
    assert [a for a in answers if isinstance(a, int)] == [4, 9, 25]
    assert [type(answers[i]) for i in (0, 3)] == [asyncio.CancelledError] * 2
    assert function.batches == [[1, 2], [3, 5]]  # 4 was never computed
    assert batcher.pending == 0


@pytest.mark.parametrize("waits", [False, True])
def test_nobody_is_left_waiting_when_the_worker_is_cancelled(waits):
    """As by a program that ends all its tasks but the one that it is in."""
    function = Squares()
    batcher = MicroBatcher(function)

    async def main():
        function.hold()
        others = [asyncio.create_task(batcher.submit(1))] if waits else []
        if waits:
            await entered(function)
        end = asyncio.create_task(end_all_but(asyncio.current_task()))
        try:
            with pytest.raises(asyncio.CancelledError):
                async with asyncio.timeout(30):
                    await batcher.submit(2)
        finally:
            function.go_on.set()
        await end
        return await asyncio.gather(*others, return_exceptions=True)

    async def end_all_but(task):
        await entered(function)
        for other in asyncio.all_tasks() - {task, asyncio.current_task()}:
            other.cancel()

    assert len(asyncio.run(main())) == waits


def test_one_batcher_in_one_event_loop_after_another():
    function = Squares()
    batcher = MicroBatcher(function)

    async def give_up():
        function.hold()
        tasks = [asyncio.create_task(batcher.submit(i)) for i in (1, 2)]
        await entered(function)
        tasks.append(asyncio.create_task(batcher.submit(3)))
        await turns()

    asyncio.run(give_up())  # ends while a batch runs and 3 waits
    function.go_on.set()
    assert asyncio.run(batcher.submit(4)) == 16
    assert function.batches == [[1, 2], [4]]
    assert batcher.pending == 0


@pytest.mark.parametrize("settings", [{"max_batch": 0}, {"max_wait_s": -1.0}, {"max_wait_s": float("nan")}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match="must be"):
        MicroBatcher(Squares(), **settings)
