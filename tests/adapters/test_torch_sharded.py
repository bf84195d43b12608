"""A table shared out over processes gives the results of one table, bit for bit."""

from __future__ import annotations

import pytest
from helpers.processes import run_python
from helpers.requirements import need

PROGRAM = """
import os, sys, tempfile
import numpy as np, torch, hashneg as hn
from hashneg.adapters.torch import ShardedCodeTable

N, DIM, BITS = 203, 12, 37

def data(seed):
    rng = np.random.default_rng(seed)
    return rng, rng.integers(-2, 3, (N, DIM)).astype(np.float32)

def check(one, parts, where):
    assert all(np.array_equal(a, b) for a, b in zip(one, parts)), where

def history(rank, size, mode, labels):
    rng, x = data(7)
    quantizer = hn.BinaryQuantizer(BITS).fit(x)
    one = hn.CodeTable(N, quantizer, mode=mode, labels=labels)
    parts = ShardedCodeTable(N, quantizer, mode=mode, labels=labels)
    for step in range(4):
        batches = [rng.integers(0, N, rng.integers(0, 30)) for _ in range(size)]
        rows = [rng.integers(-2, 3, (len(ids), DIM)).astype(np.float32) for ids in batches]
        one.update(np.concatenate(batches), np.concatenate(rows))
        parts.update(torch.from_numpy(batches[rank]), torch.from_numpy(rows[rank]))
        if mode == "epoch":
            one.refresh()
            own = parts.refresh()
            assert ((own >= parts.start) & (own < parts.stop)).all()
            assert parts.table.quantizer.fingerprint == one.quantizer.fingerprint
        elif step == 2:
            one.refresh(x)
            parts.refresh(lambda ids: x[ids]) if rank else parts.refresh(x)
        np.testing.assert_array_equal(parts.table.codes().data, one.codes().data[parts.start : parts.stop])
        np.testing.assert_array_equal(parts.table.versions(), one.versions()[parts.start : parts.stop])
        ids = rng.integers(0, N, 40)
        mask, lists = rng.random((40, N)) < 0.7, rng.integers(-1, N, (40, 5))
        for options in ({}, {"max_distance": 14}, {"exclude": lists}, {"allow": mask}, {"allow": mask[0]},
                        {"allow": np.packbits(mask, axis=1, bitorder="little"), "exclude": lists}):
            check(one.mine(ids, 9, **options), parts.mine(ids, 9, **options), (mode, step, list(options)))
    check(one.mine(range(N), 300), parts.mine(range(N), 300), "k above n")
    assert len(parts.mine([], 3).indices) == 0
    found = parts.mine(torch.arange(5), 2)
    assert type(found.indices) is torch.Tensor
    other = ShardedCodeTable(N, quantizer, mode=mode, labels=labels)
    other.load_state_dict(parts.state_dict())
    check(other.mine(range(N), 9), parts.mine(range(N), 9), "resumed")
    # every rank composes the same batches
    sampler = hn.HardBatchSampler(parts.mine(range(N), 20), 12, labels=labels)
    gathered = [None] * size
    torch.distributed.all_gather_object(gathered, sampler.batches.tolist())
    assert all(batches == gathered[0] for batches in gathered)
    return parts

def refused(rank, size):
    _, x = data(7)
    parts = ShardedCodeTable(N, hn.BinaryQuantizer(BITS).fit(x))
    parts.refresh(x)
    before = parts.table.codes().data.copy()
    wrong = rank == size - 1
    try:
        parts.update([N if wrong else 0], x[:1])
        raise SystemExit("not refused")
    except ValueError as error:
        assert wrong and "ids[0]" in str(error)
    except RuntimeError as error:
        assert not wrong and f"rank {size - 1} refused" in str(error)
    try:
        parts.update([0], x[:1, :5] if wrong else x[:1])
        raise SystemExit("not refused")
    except (ValueError, RuntimeError):
        pass
    assert parts.version == 1 and (parts.table.codes().data == before).all()
    try:
        ShardedCodeTable(N, 8)
        raise SystemExit("not refused")
    except ValueError as error:
        assert "fitted" in str(error)
    try:
        ShardedCodeTable(N, 8, mode="epoch").refresh()
        raise SystemExit("not refused")
    except ValueError as error:
        assert "nothing to rebuild" in str(error)
    try:
        parts.load_state_dict(parts.state_dict() | {"world_size": size + 1})
        raise SystemExit("not refused")
    except ValueError as error:
        assert "world_size" in str(error)

def work(rank, size, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/{size}", rank=rank, world_size=size)
    for mode in ("live", "epoch"):
        history(rank, size, mode, None)
        history(rank, size, mode, np.arange(N) // 3)
    refused(rank, size)
    torch.distributed.destroy_process_group()

if __name__ == "__main__":
    warm = hn.CodeTable(9, BITS, labels=np.arange(9))  # children inherit the kernels that are loaded
    warm.refresh(np.eye(9, dtype=np.float32))
    len(hn.HardBatchSampler(warm.mine(range(9), 2, exclude=np.zeros((9, 1), int), allow=np.ones(9, bool)), 3))
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            torch.multiprocessing.start_processes(work, (size, folder), nprocs=size, start_method="fork")
    print("equal")
"""


@pytest.mark.parametrize("size", [2, 3])
def test_a_sharded_table_equals_one_table(size):
    need("torch")
    done = run_python(PROGRAM.replace("SIZES", f"({size},)"), timeout=400, OMP_NUM_THREADS="1", HASHNEG_NUM_THREADS="1")
    assert done.stdout.strip().endswith("equal")
