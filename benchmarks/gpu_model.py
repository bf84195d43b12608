"""How fast the GPU scans can be, by their machine code: ``python -m benchmarks.gpu_model``.

Nothing is run. The kernels are compiled and disassembled; the instructions of the hot loop and of the path that a row
near enough takes are counted on the shortest way through the control flow; how many rows are near enough comes from
simulated distances of random codes. A warp's instructions share four schedulers, and their results the pipes of a
multiprocessor: the fullest of them gives the modelled time. The model assumes enough warps to hide all latency, loads
that hit the cache, no exclusions, and no time for the merges between rounds.
"""

from __future__ import annotations

import heapq
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks import toolkit
from hashneg.backends.cupy import device, search

N_BITS = 256
_WARP = 32
_FULL_RATE = ("LOP3", "IADD", "VIADD", "ISETP", "SEL", "SHF", "LEA", "VIMNMX", "IMNMX", "PRMT", "PLOP3", "MOV", "POPC")


@dataclass(frozen=True)
class Chip:
    """A GPU: what its multiprocessors do in a cycle, in warp instructions; from the CUDA C++ programming guide.

    `matrix` is what the binary tensor core does, 64 comparisons of 256 bits a cycle; see the notes of each row.
    """

    name: str
    architecture: int
    multiprocessors: int
    ghz: float
    issued: float = 4.0
    integer: float = 2.0  # 64 lanes: logic, additions, comparisons, minima, shifts
    multiply: float = 2.0  # 64 lanes: integer multiply-add, which the compiler also adds and moves with
    population: float = 0.5
    memory: float = 1.0  # 32 lanes of four bytes
    matrix: float = 0.5  # of 16 x 8 x 256 bits


CHIPS = (Chip("A100", 80, 108, 1.41), Chip("H100", 90, 132, 1.83))


@dataclass(frozen=True)
class Use:
    """Warp instructions by the pipe that they take."""

    issued: float = 0
    integer: float = 0
    multiply: float = 0
    population: float = 0
    memory: float = 0
    matrix: float = 0

    def __add__(self, other: Use) -> Use:
        return Use(*(a + b for a, b in zip(self._all(), other._all(), strict=True)))

    def __mul__(self, times: float) -> Use:
        return Use(*(times * a for a in self._all()))

    def _all(self) -> list[float]:
        return [getattr(self, name) for name in self.__dataclass_fields__]

    def cycles(self, chip: Chip) -> tuple[float, str]:
        """Cycles of a multiprocessor, and the pipe that takes them."""
        return max((getattr(self, name) / getattr(chip, name), name) for name in self.__dataclass_fields__)

    @classmethod
    def of(cls, instructions: list[str]) -> Use:
        total = cls()
        for text in instructions:
            operation = re.sub(r"^@!?U?P\d+ +", "", text).split()[0]
            total += cls(issued=1) + cls(**{_pipe(operation): _width(operation)} if _pipe(operation) else {})
        return total


def _pipe(operation: str) -> str:
    if operation.startswith("BMMA"):
        return "matrix"
    if operation.startswith("POPC"):
        return "population"
    if operation.startswith(("LDS", "LDG", "STS", "STG", "LD.", "ST.", "ATOM", "SHFL")):
        return "memory"
    if operation.startswith(("IMAD", "FMUL", "FFMA")):
        return "multiply"
    return "integer" if operation.startswith(_FULL_RATE) else ""


def _width(operation: str) -> int:
    """Words of four bytes that a memory instruction moves for a lane; a broadcast of 128 bits counts as one."""
    if operation.startswith("LDG") and ".128" in operation:
        return 1  # the plan of a query, which all lanes read alike
    return 2 if re.match(r"(LD|ST)[SG].*\.64", operation) else 4 if re.match(r"(LD|ST)[SG].*\.128", operation) else 1


class Flow:
    """The control flow of a kernel: blocks of instructions, and which may follow which."""

    def __init__(self, code: str) -> None:
        self.blocks: list[list[str]] = [[]]
        starts: dict[str, int] = {}
        targets: list[list[str]] = [[]]
        falls: list[bool] = [True]

        def begin() -> None:
            if self.blocks[-1]:
                self.blocks.append([])
                targets.append([])
                falls.append(True)

        for line in code.splitlines():
            if label := re.match(r"(\.L_x_\d+):", line.strip()):
                begin()
                starts[label[1]] = len(self.blocks) - 1
            elif found := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.+?) ;", line):
                text = " ".join(found[1].split())
                plain = re.sub(r"^@!?U?P\w+ ", "", text)
                self.blocks[-1].append(text)
                target = re.search(r"\(?(\.L_x_\d+)\)?", plain)
                if plain.startswith(("BRA", "EXIT", "RET")) or (plain.startswith("CALL.REL.NOINC") and target):
                    if target and ".DIV" not in plain:  # no warp comes there diverged
                        targets[-1].append(target[1])
                    falls[-1] = text != plain or ".DIV" in plain
                    begin()
        self.next = [
            [starts[t] for t in own if t in starts] + ([i + 1] if falls[i] and i + 1 < len(self.blocks) else [])
            for i, own in enumerate(targets)
        ]

    def find(self, pattern: str, count: int = 1) -> list[int]:
        """Blocks in which at least `count` instructions match."""
        return [i for i, b in enumerate(self.blocks) if sum(bool(re.search(pattern, text)) for text in b) >= count]

    def way(self, start: int, end: int, without: frozenset[int] = frozenset()) -> list[int] | None:
        """The blocks of the shortest way from `start` to `end`, counted in instructions, without both ends."""
        queue: list[tuple[int, list[int]]] = [(0, [i]) for i in self.next[start] if i not in without or i == end]
        seen: set[int] = set()
        heapq.heapify(queue)
        while queue:
            length, path = heapq.heappop(queue)
            if path[-1] == end:
                return path[:-1]
            if path[-1] in seen:
                continue
            seen.add(path[-1])
            for i in self.next[path[-1]]:
                if i not in without or i == end:
                    heapq.heappush(queue, (length + len(self.blocks[path[-1]]), [*path, i]))
        return None

    def use(self, blocks: list[int]) -> Use:
        return sum((Use.of(self.blocks[i]) for i in blocks), Use())

    def round_trip(self, *stops: int, without: frozenset[int] = frozenset()) -> list[int]:
        """The shortest way around through these blocks, in this order."""
        blocks: list[int] = []
        for start, end in zip(stops, (*stops[1:], stops[0]), strict=True):
            between = self.way(start, end, without)
            assert between is not None, "the disassembly has no such way: the kernel has changed"
            blocks += [start, *between]
        return blocks


@dataclass(frozen=True)
class Cost:
    """What a scan costs: for a tile of rows and queries, for a tile with rows that pass, and for each line of them."""

    tile: Use
    queries: int
    rows: int
    hot: Use
    hot_queries: int
    line: Use


def compile_scan(file: str, kernel: str, macros: dict[str, int], architecture: int) -> Flow:
    with tempfile.TemporaryDirectory() as folder:
        ptx = toolkit.ptx_of(device.source(file), macros, architecture)
        return Flow(toolkit.assemble(ptx, architecture, Path(folder)).kernels[kernel].code)


def tensor_cost(architecture: int) -> Cost:
    """Of 64 queries and 32 rows: sixteen instructions, maxima, one vote. Where a row passes, 16 queries again."""
    flow = compile_scan("scan_mma.cu", "scan_mma", {"BLOCKS": 1, "QUERY_TILES": 4}, architecture)
    main = flow.find(r"\bBMMA", 16)[0]
    again = next(i for i in flow.find(r"\bBMMA") if i != main)
    tile = flow.round_trip(main)
    stores = [i for i in flow.find(r"\bSTG") if flow.way(again, i) is not None and flow.way(i, main) is not None]
    with_line = min((flow.round_trip(main, again, i) for i in stores), key=lambda way: flow.use(way).issued)
    store = next(i for i in with_line if i in stores)
    line = flow.round_trip(store, without=frozenset({main, again}))
    hot = Use(*(a - b - c for a, b, c in zip(*(flow.use(w)._all() for w in (with_line, tile, line)), strict=True)))
    return Cost(flow.use(tile), 64, 32, hot, 16, flow.use(line))


def sliced_cost(architecture: int) -> Cost:
    """Of a query and 2,048 rows: planes of half the bits, in loops of 32 and of 8. Where a row passes, its word."""
    planes = (N_BITS + 1).bit_length()
    macros = {"PLANES": planes, "WORDS": 2, "STAGED": 1}
    flow = compile_scan("scan_sliced.cu", "scan_sliced", macros, architecture)
    loops = [i for i in flow.find("LOP3", 30) if i in flow.next[i]]
    long, short = sorted(loops, key=lambda i: -len(flow.blocks[i]))
    query = flow.round_trip(long, short)
    per_long, per_short = flow.use([long]), flow.use([short])
    # half of the bits are set: on average 128 planes, of which what 32 does not divide is filled up to eights
    tile = flow.use(query) + per_long * (N_BITS / 64 - 0.5 - 1) + per_short * (2.0 - 1)
    stores = [i for i in flow.find(r"\bSTG") if flow.way(short, i) is not None and flow.way(i, long) is not None]
    with_line = min((flow.round_trip(long, short, i) for i in stores), key=lambda way: flow.use(way).issued)
    line = Use(*(a - b for a, b in zip(flow.use(with_line)._all(), flow.use(query)._all(), strict=True)))
    return Cost(tile, 1, 2048, Use(), 1, line)


@dataclass(frozen=True)
class Passing:
    """Averages over queries: rows counted, and 32-row lines in which a row passes, by round."""

    scanned: int
    lines: float


@cache
def passing(n: int, k: int, tile_rows: int) -> list[Passing]:
    """What a search of n random codes does in its rounds, from simulated distances; see `search.steps`."""
    rng = np.random.default_rng(0)
    tiles = n // tile_rows
    rounds = search.steps(tiles, tile_rows, k)[:-1]  # the last round repeats failed guesses, which are rare
    scanned, lines = [0] * len(rounds), np.zeros(len(rounds))
    queries = max(4, 10**7 // n)
    for _ in range(queries):
        distances = np.zeros(tiles * tile_rows, np.uint16)
        for _ in range(N_BITS // 64):
            distances += np.bitwise_count(rng.integers(0, 2**64, len(distances), np.uint64))
        distances = distances.reshape(tiles, tile_rows)
        limit, held = N_BITS, np.empty(0, np.uint16)
        for number, step in enumerate(rounds):
            part = distances[step.round.first : step.round.last : step.round.step].reshape(-1, _WARP)
            # the threshold leaves the parity out: with every other limit, rows one farther pass too
            coarse = part <= limit + int(rng.integers(2))
            scanned[number] = part.size
            lines[number] += coarse.any(axis=1).sum() / queries
            held = np.sort(np.concatenate([held, part[part <= limit]]))[: step.k]
            if len(held) == step.k:
                limit = int(held[-1]) - (step.purpose == search.KEEP)
            if step.purpose == search.SAMPLE:
                held = held[:0]
    return [Passing(s, float(x)) for s, x in zip(scanned, lines, strict=True)]


def modelled(cost: Cost, chip: Chip, n: int, k: int) -> tuple[float, str]:
    """Comparisons a second, and the pipe that limits them."""
    total = Use()
    for part in passing(n, k, cost.rows):
        tiles = part.scanned / cost.rows / cost.queries  # for each query
        share = min(1.0, part.lines / max(1.0, part.scanned / _WARP))  # of lines in which a row passes
        groups = part.scanned / _WARP / cost.hot_queries  # of queries that are counted again together
        hot = groups * (1 - (1 - share) ** cost.hot_queries)
        total += cost.tile * tiles + cost.hot * hot + cost.line * part.lines
    cycles, pipe = total.cycles(chip)
    return n * chip.multiprocessors * chip.ghz * 1e9 / cycles, pipe


def steady(cost: Cost, chip: Chip) -> float:
    """Comparisons a second where no row passes."""
    return cost.queries * cost.rows * chip.multiprocessors * chip.ghz * 1e9 / cost.tile.cycles(chip)[0]


def main() -> None:
    print(__doc__)
    for chip in CHIPS:
        for name, cost in (("tensor core", tensor_cost(chip.architecture)), ("sliced", sliced_cost(chip.architecture))):
            use = {pipe: round(value) for pipe, value in zip(Use.__dataclass_fields__, cost.tile._all(), strict=True)}
            print(f"{chip.name}, {name}: {cost.queries} queries x {cost.rows} rows take {use}")
            print(f"    where a row passes {cost.hot.issued:.0f} more, and {cost.line.issued:.0f} for its 32 rows")
            print(f"    modelled, no row passes: {steady(cost, chip):.2e} comparisons/s")
            for n in (10**6, 10**7):
                for k in (10, 100, 1000):
                    speed, pipe = modelled(cost, chip, n, k)
                    print(f"    modelled, n = {n:.0e}, k = {k}: {speed:.2e} comparisons/s, limited by {pipe}")


if __name__ == "__main__":
    main()
