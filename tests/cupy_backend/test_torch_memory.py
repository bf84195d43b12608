"""CuPy's memory from PyTorch's allocator, whose functions are played by the host's memory here."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from helpers.requirements import need
from searches import assert_topk

import hashneg as hn

torch = need("torch")


@pytest.fixture
def held(monkeypatch):
    """Memory that was taken and not given back, by address; every request is of the device and stream of the call."""
    blocks, taken = {}, []

    def allocate(size, device, stream):
        assert (device, stream) == (0, 0)
        memory = np.empty(size, np.uint8)
        blocks[memory.ctypes.data] = memory
        taken.append(size)
        return memory.ctypes.data

    monkeypatch.setattr(torch.cuda, "caching_allocator_alloc", allocate)
    monkeypatch.setattr(torch.cuda, "caching_allocator_delete", lambda pointer: blocks.pop(pointer))
    return blocks, taken


def test_a_search_takes_memory_and_gives_it_back(gpu, held):
    from hashneg.adapters.torch import use_torch_allocator

    blocks, taken = held
    raw = np.random.default_rng(0).integers(0, 256, (70, 4), np.uint8)
    there = gpu.cp.asarray(raw)
    expected = hn.hamming_topk(there, there, 5)
    assert not taken, "only within the context"
    with use_torch_allocator():
        found = hn.hamming_topk(there, there, 5)
        empty = hn.hamming_topk(there[:0], there, 5)
    assert len(taken) > 3
    assert len(empty.indices) == 0
    assert_topk(tuple(part.get() for part in found), tuple(part.get() for part in expected))
    gc.collect()
    assert sum(map(len, blocks.values())) == sum(part.nbytes for part in found), "the result outlives the context"
    before = len(taken)
    hn.hamming_topk(there, there, 5)
    assert len(taken) == before
    del found
    gc.collect()
    assert not blocks


def test_out_of_memory_is_the_backends_to_explain(gpu, monkeypatch):
    from hashneg.adapters.torch import use_torch_allocator

    def full(*_):
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(torch.cuda, "caching_allocator_alloc", full)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7)
    there = gpu.cp.asarray(np.zeros((70, 4), np.uint8))
    with use_torch_allocator(), pytest.raises(MemoryError, match=r"of 70 rows needs .* bytes of device memory"):
        hn.hamming_topk(there, there, 5)


def test_without_cupy_it_says_so(monkeypatch):
    from hashneg.adapters.torch import use_torch_allocator

    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match="CuPy, which is not installed"), use_torch_allocator():
        pass
