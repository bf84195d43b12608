"""Searching in data loader workers, process pools and threads, and stopping a search by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.requirements import need

PROGRAM = str(Path(__file__).with_name("searches.py"))
LIMIT = 200  # seconds: a process that hangs fails, a slow machine does not
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(task: str, argument: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, task, argument], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "done"


@pytest.mark.parametrize("start_method", [pytest.param("fork", marks=needs_fork), "spawn"])
def test_data_loader_workers(backend, start_method):
    """OpenMP aborts in a forked child of a parent that has used it; a pool of threads is gone there."""
    need("torch")
    run("load_in_workers", start_method)


@pytest.mark.parametrize("start_method", [pytest.param("fork", marks=needs_fork), "spawn"])
def test_process_pools(backend, start_method):
    run("pool_of_processes", start_method)


@pytest.mark.parametrize("order", ["given", "clustered"])
def test_several_threads_search_one_index(backend, order):
    run("pool_of_threads", order)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_ctrl_c_at_any_moment_leaves_no_lock_taken(threads):
    """An executor hung for ever where Ctrl-C met it handing out work: Condition.__enter__ kept the lock."""
    run("interrupt_often", threads)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process on Windows")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_ctrl_c_stops_a_search(backend, threads):
    """The whole search would take minutes to hours; after Ctrl-C the call raises KeyboardInterrupt and cleans up."""
    program = subprocess.Popen(
        [sys.executable, PROGRAM, "search_for_ever", threads], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout.readline() == "searching\n", program.stderr.read()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=LIMIT)
    finally:
        program.kill()
        program.communicate()
    assert (program.returncode, out) == (130, "stopped\n"), err[-4000:]
