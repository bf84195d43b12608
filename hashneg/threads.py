"""How many threads a call uses, and the pool that runs tiles of work on them."""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hashneg import checks

_of_caller: ContextVar[int | None] = ContextVar("threads of the caller", default=None)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Give calls inside, which are not told how many threads to use, this number."""
    token = _of_caller.set(count)
    try:
        yield
    finally:
        _of_caller.reset(token)


def thread_count(threads: int | None) -> int:
    """The argument, else what `using_threads` says, else ``HASHNEG_NUM_THREADS``, else the cores of this process."""
    threads = _of_caller.get() if threads is None else threads
    if threads is not None:
        return checks.integer(threads, "threads", minimum=1)
    if set_by_user := os.environ.get("HASHNEG_NUM_THREADS"):
        try:
            return checks.integer(int(set_by_user), "HASHNEG_NUM_THREADS", minimum=1)
        except ValueError:
            raise ValueError(f"HASHNEG_NUM_THREADS must be an integer >= 1, got {set_by_user!r}") from None
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tiles(work: Callable[[Any], object], tiles: Iterable[Any], threads: int) -> None:
    """Call ``work(tile)`` for every tile on `threads` threads; the first error or Ctrl-C stops the rest.

    The threads live for this call only, so that a process forked later inherits no dead ones. They fetch their
    tiles themselves: a Ctrl-C that meets the main thread while it hands out work, as through an executor, can
    leave a lock taken for ever (Condition.__enter__ returns with the lock, and the interrupt comes before `with`).
    """
    waiting = deque(tiles)
    count = min(threads, len(waiting))
    if count < 2:
        while waiting:
            work(waiting.popleft())
        return
    errors: list[BaseException] = []
    running = [allocate_lock() for _ in range(count)]  # plain locks: taking one is a single step
    ended = [False] * count

    def fetch(number: int) -> None:
        try:
            while waiting:
                try:
                    tile = waiting.popleft()
                except IndexError:  # another thread took the last one
                    break
                work(tile)
        except BaseException as error:
            errors.append(error)
            waiting.clear()
        finally:
            ended[number] = True
            running[number].release()

    def join(numbers: range) -> None:
        for number in numbers:
            while not ended[number]:
                running[number].acquire(timeout=1.0)  # a second is lost where a Ctrl-C came with the lock taken

    started = 0
    try:
        for number, lock in enumerate(running):
            lock.acquire()
            start_new_thread(fetch, (number,))
            started += 1
        join(range(count))
    except BaseException:
        waiting.clear()
        join(range(started))
        raise
    if errors:
        raise errors[0]
