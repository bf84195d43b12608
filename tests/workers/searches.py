"""Searches in worker processes and threads; `test_workers.py` runs this file as a program of its own.

A process of its own, since a test process may have loaded frameworks that do not survive a fork.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

import hashneg as hn

N, K = 3000, 7


def embeddings() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, 24), np.float32)


def codes() -> hn.Codes:
    return hn.BinaryQuantizer(96).fit_encode(embeddings())


class Neighbours:
    """A map-style dataset that searches in __getitem__: in two indexes, and without one."""

    def __init__(self, queries: hn.Codes) -> None:
        self.indexes = [hn.HammingIndex(queries, order=order) for order in ("given", "clustered")]
        self.queries = queries

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> np.ndarray:
        found = hn.hamming_topk(self.queries[[i] * 5], self.queries, K, query_ids=[i] * 5, threads=2).indices
        for index in self.indexes:
            again = index.topk(self.queries[i], K, query_ids=[i], threads=1 + i % 2).indices
            assert (found == again).all()
        return found[0]


def search_some(index: hn.HammingIndex, start: int) -> np.ndarray:
    rows = range(start, start + 10)
    return index.topk(index.codes(rows), K, query_ids=rows, threads=2).indices


def mine_some(seed: int) -> np.ndarray:
    return hn.mine_hard_negatives(embeddings()[:500], k=K, quantizer=64, threads=2, seed=seed).indices


def load_in_workers(start_method: str) -> None:
    from torch.utils.data import DataLoader

    all_codes = codes()
    truth = hn.hamming_topk(all_codes, all_codes, K, query_ids=np.arange(N), threads=2).indices  # the parent is warm
    dataset: Any = Neighbours(all_codes)
    loader = DataLoader(
        dataset, batch_size=8, num_workers=2, multiprocessing_context=start_method, persistent_workers=True, timeout=120
    )
    for _ in range(2):
        found = np.concatenate([batch.numpy() for batch in loader])
        np.testing.assert_array_equal(found, truth[:40])


def pool_of_processes(start_method: str) -> None:
    all_codes = codes()
    index = hn.HammingIndex(all_codes, order="clustered")
    truth = hn.hamming_topk(all_codes, all_codes, K, query_ids=np.arange(N), threads=2).indices
    mined = mine_some(3)
    with ProcessPoolExecutor(2, mp_context=get_context(start_method)) as pool:
        found = list(pool.map(search_some, [index] * 6, range(0, 60, 10)))
        others = list(pool.map(mine_some, [3, 3]))
    np.testing.assert_array_equal(np.concatenate(found), truth[:60])
    for other in others:
        np.testing.assert_array_equal(other, mined)


def pool_of_threads(order: str) -> None:
    """Four threads at once from the very first call on, so that they also meet in the compilation."""
    raw = np.random.default_rng(1).integers(0, 256, (N, 12), np.uint8)
    all_codes = hn.Codes(raw, 96)
    index = hn.HammingIndex(all_codes, order=order)
    gate = threading.Barrier(4)

    def work(number: int) -> list[np.ndarray]:
        gate.wait()
        return [search_some(index, start) for start in range(0, 400, 10)]

    with ThreadPoolExecutor(4) as pool:
        found = [np.concatenate(parts) for parts in pool.map(work, range(4))]
    truth = hn.hamming_topk(all_codes, all_codes, K, query_ids=np.arange(N), backend="reference").indices
    for each in found:
        np.testing.assert_array_equal(each, truth[:400])


def interrupt_often(threads: str) -> None:
    """Interrupt many short runs at random moments: none of them may hang, and none may leave a thread behind."""
    from hashneg.threads import run_tiles

    def ring(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, ring)
    moments = np.random.default_rng(0).uniform(1e-4, 0.02, 400)
    stopped = 0
    for moment in moments:
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, moment)
                run_tiles(lambda tile: sum(range(50)), range(10_000), int(threads))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            stopped += 1
    assert stopped > 20, stopped
    time.sleep(0.5)
    assert len(sys._current_frames()) == 1, "worker threads outlive the call"


def search_for_ever(threads: str) -> None:
    """Say "searching" once a search runs that would take very long, and "stopped" when Ctrl-C ends it."""
    raw = np.random.default_rng(1).integers(0, 256, (200_000, 128), np.uint8)
    queries = np.random.default_rng(2).integers(0, 256, (1_000_000, 128), np.uint8)
    said = []

    def progress(done: int, total: int) -> None:
        if not said:
            said.append(done)
            print("searching", flush=True)

    try:
        hn.hamming_topk(queries, raw, 1, threads=int(threads), progress=progress)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        time.sleep(0.2)
        assert len(sys._current_frames()) == 1, "worker threads outlive the call"
        hn.hamming_topk(queries[:2], raw[:1000], 1)  # the library still works
        sys.exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell leaves it ignored
    globals()[sys.argv[1]](sys.argv[2])
    print("done")
