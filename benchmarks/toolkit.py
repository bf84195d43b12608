"""NVIDIA's compiler, assembler and disassembler from PyPI: none of them needs a driver or a GPU."""

from __future__ import annotations

import ctypes
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)


class Kernel(NamedTuple):
    """What the assembler says of a kernel, and its machine code."""

    name: str
    registers: int
    spilled_bytes: int
    shared_bytes: int
    code: str


class Compiled(NamedTuple):
    """A kernel file for one architecture."""

    ptx: str
    kernels: dict[str, Kernel]


def ptx_of(code: str, macros: dict[str, int], architecture: int) -> str:
    """Compile CUDA C++ to PTX as CuPy does, with NVRTC; raises RuntimeError with the compiler's log."""
    nvrtc = _nvrtc()
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None)

    def text_of(what: str) -> str:
        size = ctypes.c_size_t()
        getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, f"nvrtcGet{what}")(program, text)
        return text.value.decode()

    options = [f"-arch=compute_{architecture}", "-std=c++17", *(f"-D{name}={value}" for name, value in macros.items())]
    try:
        if nvrtc.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        ):
            raise RuntimeError(f"NVRTC {' '.join(options)}\n{text_of('ProgramLog')}")
        return text_of("PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


@cache
def _nvrtc() -> ctypes.CDLL:
    return ctypes.CDLL(str(_file("lib/libnvrtc.so.*[0-9]")))


@cache
def _file(pattern: str) -> Path:
    """A file of the packages nvidia-cuda-nvrtc, nvidia-cuda-nvcc and nvidia-cuda-nvdisasm."""
    import nvidia

    for folder in nvidia.__path__:
        for found in sorted(Path(folder).glob(f"**/{pattern}")):
            return found
    raise FileNotFoundError(f"{pattern} is in none of the packages nvidia.*")


def assemble(ptx: str, architecture: int, folder: Path) -> Compiled:
    """Assemble PTX for an architecture and read what became of it."""
    source, target = folder / "kernel.ptx", folder / "kernel.cubin"
    source.write_text(ptx)
    command = [str(_file("bin/ptxas")), "-v", f"-arch=sm_{architecture}", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    disassembly = subprocess.run(
        [str(_file("bin/nvdisasm")), "-c", str(target)], capture_output=True, text=True, check=True
    )
    codes = _codes(disassembly.stdout)
    kernels = {}
    for part in re.split(r"Compiling entry function '", done.stderr)[1:]:
        name = part.split("'")[0]
        spills = re.findall(r"(\d+) bytes spill", part)
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        assert registers, part
        kernels[name] = Kernel(
            name, int(registers[1]), sum(map(int, spills)), int(shared[1]) if shared else 0, codes[name]
        )
    return Compiled(ptx, kernels)


def _codes(disassembly: str) -> dict[str, str]:
    """The instructions of every kernel: the text of its section."""
    parts = re.split(r"^\s*\.section\s+\.text\.(\w+),.*$", disassembly, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def installed() -> bool:
    """Whether compiler, assembler and disassembler are here."""
    try:
        return all(_file(name) for name in ("lib/libnvrtc.so.*[0-9]", "bin/ptxas", "bin/nvdisasm"))
    except (FileNotFoundError, ModuleNotFoundError):
        return False
