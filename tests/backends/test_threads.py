"""The pool over tiles: every tile once, errors and Ctrl-C stop the rest."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

import hashneg as hn
from hashneg.backends.cpu import projection
from hashneg.threads import run_tiles, thread_count, using_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_every_tile_runs_once(n, threads):
    lock, seen = threading.Lock(), []

    def work(tile):
        with lock:
            seen.append(tile)

    run_tiles(work, iter(range(n)), threads)
    assert sorted(seen) == list(range(n))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_is_raised_and_stops_the_rest(threads, error):
    started = []

    def work(tile):
        started.append(tile)
        if tile == 5:
            raise error("five")
        threading.Event().wait(0.001)

    with pytest.raises(error, match="five"):
        run_tiles(work, range(10_000), threads)
    assert len(started) < 10_000


def test_no_thread_outlives_the_call():
    """A process that forks later must not inherit a pool whose threads are gone."""
    before = set(sys._current_frames())
    run_tiles(lambda tile: None, range(20), 4)
    patience = 1000
    while set(sys._current_frames()) - before and patience:  # a thread that has done its work may still be leaving
        threading.Event().wait(0.01)
        patience -= 1
    assert patience


def test_an_index_error_of_the_work_is_an_error():
    with pytest.raises(IndexError, match="list index"):
        run_tiles(lambda tile: [][tile], range(20), 3)


def test_count_of_threads(monkeypatch):
    assert thread_count(3) == 3
    monkeypatch.setenv("HASHNEG_NUM_THREADS", "7")
    assert thread_count(None) == 7
    assert thread_count(2) == 2
    monkeypatch.delenv("HASHNEG_NUM_THREADS")
    assert 1 <= thread_count(None) <= (os.cpu_count() or 1)
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("HASHNEG_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match="HASHNEG_NUM_THREADS must be an integer >= 1"):
            thread_count(None)


def test_calls_inside_use_the_threads_of_their_caller(monkeypatch):
    """mine_hard_negatives(threads=1) encoded on all cores."""
    monkeypatch.setenv("HASHNEG_NUM_THREADS", "7")
    with using_threads(2):
        assert thread_count(None) == 2
        assert thread_count(5) == 5
        with using_threads(3):
            assert thread_count(None) == 3
        assert thread_count(None) == 2
    assert thread_count(None) == 7


def test_a_mining_job_encodes_on_its_own_threads(monkeypatch):
    used = set()

    def run(work, tiles, threads):
        used.add(threads)
        run_tiles(work, tiles, threads)

    monkeypatch.setattr(projection, "run_tiles", run)
    x = np.random.default_rng(0).standard_normal((2000, 16), dtype=np.float32)
    hn.mine_hard_negatives(x, quantizer=64, k=3, threads=3, backend="cpu")
    assert used == {3}
