"""Every kernel through NVIDIA's compiler and assembler, for architectures from sm_75 on: no driver, no GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from helpers.requirements import missing

from benchmarks import toolkit

#: Kernel files with their macros, and the most registers that one of their kernels may take.
VARIANTS = [
    ("rows.cu", {}, 40),
    ("merge.cu", {}, 64),
    ("merge.cu", {"CLUSTERED": 1}, 64),
    ("clusters.cu", {}, 64),
    ("distances.cu", {}, 64),
    *(("pack.cu", {"TYPE": number}, 32) for number in range(4)),
    *(("project.cu", {"ROW": number}, 128) for number in (0, 1, 3)),
    *(("rotate.cu", {"TYPE": number, "STAGED": 1 - number}, 64) for number in range(2)),
    *(("similarity.cu", {"ANCHOR": a, "ROW": b}, 64) for a, b in ((0, 0), (1, 2), (3, 1))),
    *(("best.cu", {"TYPE": number}, 64) for number in range(2)),
    ("scan_sliced.cu", {"PLANES": 9, "WORDS": 2, "STAGED": 1}, 128),
    ("scan_sliced.cu", {"PLANES": 9, "WORDS": 1, "STAGED": 1}, 128),
    ("scan_sliced.cu", {"PLANES": 12, "WORDS": 1, "STAGED": 0}, 128),
    ("scan_sliced.cu", {"PLANES": 9, "WORDS": 2, "STAGED": 1, "CLUSTERED": 1}, 128),
]
TENSOR_VARIANTS = [
    *(
        ("scan_mma.cu", {"BLOCKS": blocks, "QUERY_TILES": tiles}, 128)
        for blocks, tiles in ((1, 4), (1, 1), (2, 2), (8, 2))
    ),
    ("scan_mma.cu", {"BLOCKS": 1, "QUERY_TILES": 4, "CLUSTERED": 1}, 128),
]
IN_CI = os.environ.get("HASHNEG_CI") == "1"
ARCHITECTURES = toolkit.ARCHITECTURES if IN_CI else (75, 90, 120)
TENSOR_ARCHITECTURES = (80, 86, 89, 90) if IN_CI else (80, 90)
NATIVE = "BMMA.168256.AND.POPC"


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not toolkit.installed():
        reason = "the packages nvidia-cuda-nvrtc, nvidia-cuda-nvcc and nvidia-cuda-nvdisasm are not installed"
        missing(reason, excused=sys.platform != "linux")


@pytest.fixture
def source(emulated):
    return emulated().device.source


def name_of(value: object) -> str | None:
    return "-".join(f"{key}{number}" for key, number in value.items()) if isinstance(value, dict) else None


def on_each(variants, architectures):
    """Every variant for every architecture; outside of CI those of clustered databases for one of them only."""
    return [
        (*variant, architecture)
        for variant in variants
        for architecture in architectures
        if IN_CI or architecture == 90 or "CLUSTERED" not in variant[1]
    ]


@pytest.mark.parametrize(("file", "macros", "registers", "architecture"), on_each(VARIANTS, ARCHITECTURES), ids=name_of)
def test_compiles_without_spills(source, tmp_path, file, macros, registers, architecture):
    compiled = toolkit.assemble(toolkit.ptx_of(source(file), macros, architecture), architecture, tmp_path)
    assert within_budget(compiled, registers)


@pytest.mark.parametrize(
    ("file", "macros", "registers", "architecture"), on_each(TENSOR_VARIANTS, TENSOR_ARCHITECTURES), ids=name_of
)
def test_tensor_core_kernel_compiles_to_its_instruction(source, tmp_path, file, macros, registers, architecture):
    compiled = toolkit.assemble(toolkit.ptx_of(source(file), macros, architecture), architecture, tmp_path)
    assert within_budget(compiled, registers)
    assert is_native(compiled.kernels["scan_mma"].code)


def test_emulation_of_the_tensor_core_is_noticed(source, tmp_path):
    """sm_100 has no binary tensor core: the same source compiles there to other instructions."""
    ptx = toolkit.ptx_of(source("scan_mma.cu"), {"BLOCKS": 1, "QUERY_TILES": 1}, 100)
    assert not is_native(toolkit.assemble(ptx, 100, tmp_path).kernels["scan_mma"].code)


def test_spills_are_noticed(source, tmp_path):
    crowded = source("scan_mma.cu").replace("__launch_bounds__(WARPS *WARP, 4)", "__launch_bounds__(WARPS *WARP, 16)")
    assert crowded != source("scan_mma.cu")
    compiled = toolkit.assemble(toolkit.ptx_of(crowded, {"BLOCKS": 1, "QUERY_TILES": 4}, 90), 90, tmp_path)
    assert not within_budget(compiled, 255)


def test_wrong_code_is_noticed():
    with pytest.raises(RuntimeError, match="undefined"):
        toolkit.ptx_of('extern "C" __global__ void f(int *x) { *x = nobody; }', {}, 75)


def test_every_kernel_file_is_compiled(source):
    folder = Path(source.__wrapped__.__code__.co_filename).parent
    assert {path.name for path in folder.glob("*.cu")} == {file for file, _, _ in VARIANTS + TENSOR_VARIANTS}


def within_budget(compiled: toolkit.Compiled, registers: int) -> bool:
    return all(kernel.spilled_bytes == 0 and kernel.registers <= registers for kernel in compiled.kernels.values())


def is_native(code: str) -> bool:
    """Whether the code counts on the binary tensor core, and nowhere by another matrix instruction."""
    return NATIVE in code and code.count("MMA.") == code.count(NATIVE)
