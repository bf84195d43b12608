"""Instructions and counted work of the kernels, against those of the last version: no clock is read."""

import json

import numpy as np
import pytest

pytest.importorskip("hashneg.backends.cpu.counting")
from helpers import kernel_counts

KNOWN = json.loads(kernel_counts.FILE.read_text())
REWRITE = "python tests/helpers/kernel_counts.py rewrites the file, if the change is meant"


@pytest.mark.parametrize("target", list(kernel_counts.TARGETS))
def test_the_counting_loop_has_no_more_instructions_than_before(target):
    import numba

    now, known = kernel_counts.machine_code(target), KNOWN["machine code"][target]
    assert now["rows"] == known["rows"]
    slack = 0 if numba.__version__ == KNOWN["numba"] else 4  # another compiler may choose a little otherwise
    for name, count in known.items():
        assert now[name] <= count + slack, f"{name}: {now[name]}, was {count}. {REWRITE}"


def test_searches_and_reranks_do_the_work_they_did_before():
    now, known = kernel_counts.work(), dict(KNOWN["work"])
    gathered, before = (work.pop("rerank of similar rows") for work in (now, known))
    assert now == known, REWRITE
    assert gathered["rows gathered"] == pytest.approx(before["rows gathered"], rel=0.05), REWRITE  # floats decide


def test_the_counts_see_a_vector_that_is_kept_on_the_stack():
    """The guard can fail: a spill and a copy in the loop are counted."""
    loop = ".LBB0_1:\n" + "\tmovzwl\t(%rax), %ecx\n" * 32
    loop += "\tvpternlogq\t$150, %zmm1, %zmm2, %zmm3\n\tvmovdqu64\t%zmm3, 64(%rsp)\n\tvmovdqa64\t%zmm3, %zmm4\n"
    assert kernel_counts.counted(loop + ".LBB0_2:\n") == {
        "rows": 32,
        "vector logic": 1,
        "vector moves between registers": 1,
        "vectors kept on the stack": 1,
    }


def test_queries_that_share_nothing_cost_more(monkeypatch):
    """The guard can fail: the same search, one query a tile, adds more rows and visits more blocks."""
    from hashneg.backends.cpu import tile

    codes = np.random.default_rng(0).integers(0, 256, (2000, 32), dtype=np.uint8)
    together = kernel_counts._searched(codes, "given", k=10)
    monkeypatch.setattr(tile, "_TILE_QUERIES", 1)
    alone = kernel_counts._searched(codes, "given", k=10)
    assert alone["rows added"] > 1.2 * together["rows added"]
    assert alone["blocks visited by tiles"] > 10 * together["blocks visited by tiles"]
    assert alone["rows accepted"] == together["rows accepted"]
