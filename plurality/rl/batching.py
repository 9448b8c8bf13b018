"""Many small asynchronous calls answered by few calls of a batched function."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class MicroBatcher(Generic[T, R]):
    """Gathers concurrent calls: `await submit(item)` gives what `function` gives at that item's place in a batch.

    One batch runs at a time, in a thread that is always the same. Calls that wait take turns in it, an item each, so
    that one of thousands of items does not delay those of a few. While it runs, the next one gathers. After it, the
    batcher waits for as many items as it has just answered, whose callers are likely to come again at once (but for
    those who said that they do not): until none came for `max_wait_s`, and never longer than the batch took, since that
    is what waiting can save. So a lone caller never waits, and many callers in step share one batch instead of falling
    into two that wait for each other.

    An exception of `function` reaches the callers of that batch and no others. A caller that is cancelled takes its
    item with it, unless its batch runs already, and disturbs no other. To be used from one event loop at a time.
    """

    def __init__(self, function: Callable[[list[T]], list[R]], max_batch: int = 64, max_wait_s: float = 0.005) -> None:
        if max_batch < 1 or not max_wait_s >= 0:
            raise ValueError(f"max_batch={max_batch} must be 1 or more, max_wait_s={max_wait_s} 0 or more")
        self.pending = 0
        """Items submitted and not yet answered, those of the running batch among them."""
        self._function, self._max_batch, self._max_wait_s = function, max_batch, max_wait_s
        self._calls: deque[deque[tuple[T, asyncio.Future[R]]]] = deque()  # items of each call that wait
        self._leaving: set[asyncio.Future[R]] = set()  # those whose callers do not come again
        self._waiting = 0
        self._expected, self._took = 1, 0.0
        self._enough = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "micro-batcher")

    async def submit(self, item: T, *, again: bool = True) -> R:
        """The result of one item; `again` as of `submit_all`."""
        return (await self.submit_all([item], again=again))[0]

    async def submit_all(self, items: Sequence[T], *, again: bool = True) -> list[R]:
        """The results of several items, which may be spread over several batches, in their order.

        items    what is asked
        again    whether the caller is likely to ask again once it has the results, and so is waited for
        """
        if not items:
            return []
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = [loop.create_future() for _ in items]
        self._calls.append(deque(zip(items, futures, strict=True)))
        if not again:
            self._leaving.update(futures)
        self._waiting += len(items)
        self.pending += len(items)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        elif self._waiting >= self._expected:
            self._enough.set()
        try:
            return [await future for future in futures]
        finally:
            self.pending -= len(items)
            self._leaving.difference_update(futures)
            for future in futures:
                future.cancel()  # what no caller waits for any more need not be computed

    async def _work(self) -> None:
        """Batch after batch until no caller waits; the next one starts a new worker, so none is left to be closed."""
        try:
            while self._calls:
                await self._gather()
                if batch := self._take():
                    start = monotonic()
                    returning = sum(future not in self._leaving for _, future in batch)
                    await self._run(batch)
                    self._took = monotonic() - start
                    self._expected = min(self._max_batch, returning + self._waiting)
        finally:  # of use when it is cancelled, as when the event loop ends: no caller is left waiting
            for call in self._calls:
                for _, future in call:
                    future.cancel()
            self._calls.clear()
            self._waiting = 0

    async def _gather(self) -> None:
        """Wait for those who are expected, while they keep coming."""
        for _ in range(3):  # first let those just answered do what they do with it
            await asyncio.sleep(0)
        end = monotonic() + self._took
        while self._waiting < self._expected and (patience := min(self._max_wait_s, end - monotonic())) > 0:
            here, self._enough = self._waiting, asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._enough.wait()
            if self._waiting == here:
                break

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._calls and len(batch) < self._max_batch:
            call = self._calls.popleft()
            item, future = call.popleft()
            self._waiting -= 1
            if not future.done():  # cancelled while it waited
                batch.append((item, future))
            if call:
                self._calls.append(call)  # at the end of the line
        return batch

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        items, futures = [item for item, _ in batch], [future for _, future in batch]
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(self._thread, self._outcome, items)
            for place, future in enumerate(futures):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome[place])
        finally:
            for future in futures:
                future.cancel()  # those that have no result, if this is cancelled: no caller is left waiting

    def _outcome(self, items: list[T]) -> list[R] | Exception:
        try:
            results = self._function(items)
            if len(results) != len(items):
                raise RuntimeError(f"the batched function gave {len(results)} results for {len(items)} items")
        except StopIteration as error:  # a future cannot hold it
            return RuntimeError(f"the batched function raised {error!r}")
        except Exception as error:
            return error
        return results
