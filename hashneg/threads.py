"""How many threads a call uses, and the pool that runs tiles of work on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from hashneg import checks


def thread_count(threads: int | None) -> int:
    """The argument, else ``HASHNEG_NUM_THREADS``, else the cores this process may run on."""
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

    The pool lives for this call only, so that a process forked later inherits no dead threads.
    """
    tiles = list(tiles)
    if threads == 1 or len(tiles) < 2:
        for tile in tiles:
            work(tile)
        return
    with ThreadPoolExecutor(min(threads, len(tiles)), thread_name_prefix="hashneg") as pool:
        futures: list[Future[object]] = [pool.submit(work, tile) for tile in tiles]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
