"""The modelled speed of the scans: what the machine code must not fall below, and that the counting can be trusted."""

from __future__ import annotations

import sys

import pytest
from helpers.requirements import missing

from benchmarks import gpu_model, toolkit

A100, H100 = gpu_model.CHIPS


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not toolkit.installed():
        reason = "the packages nvidia-cuda-nvrtc, nvidia-cuda-nvcc and nvidia-cuda-nvdisasm are not installed"
        missing(reason, excused=sys.platform != "linux")


@pytest.mark.parametrize(("chip", "least"), [(A100, 3e12), (H100, 5e12)], ids=["A100", "H100"])
def test_the_tensor_core_scan_is_modelled_fast_enough(chip, least):
    cost = gpu_model.tensor_cost(chip.architecture)
    assert cost.tile.matrix == 16  # 2,048 comparisons: nothing is counted twice
    assert gpu_model.modelled(cost, chip, 10**6, 100)[0] >= least


def test_the_sliced_scan_is_modelled_fast_enough():
    cost = gpu_model.sliced_cost(90)
    assert cost.tile.matrix == 0
    assert cost.tile.integer >= 2 * 2 * (gpu_model.N_BITS / 2 - 10)  # two words, two operations for each plane
    assert gpu_model.modelled(cost, H100, 10**6, 100)[0] >= 8e11


LOOP = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LOP3.LUT R2, R2, R3, R4, 0x96, !PT ;
        /*0020*/              @!P0 BRA `(.L_x_2) ;
        /*0030*/                   IMAD.MOV.U32 R5, RZ, RZ, R6 ;
        /*0040*/                   LDG.E.64 R8, [R10.64] ;
        /*0050*/                   BRA `(.L_x_0) ;
.L_x_2:
        /*0060*/                   POPC R7, R2 ;
        /*0070*/               @P1 BRA `(.L_x_0) ;
        /*0080*/                   EXIT ;
"""


def test_the_shortest_way_is_counted():
    flow = gpu_model.Flow(LOOP)
    main, popc = flow.find("LOP3")[0], flow.find("POPC")[0]
    assert flow.use(flow.round_trip(main)) == gpu_model.Use(issued=4, integer=1, population=1)
    long = flow.find("LDG")[0]
    assert flow.use(flow.round_trip(main, long)) == gpu_model.Use(issued=5, integer=1, multiply=1, memory=2)
    assert flow.way(popc, popc, without=frozenset({main})) is None
    assert gpu_model.Use(issued=4, integer=1, population=1).cycles(H100) == (2.0, "population")
