"""The plot of overlap against bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashneg.cli.demo.compare import BITS, DEPTHS, RERANK, Overlap
from hashneg.files import atomic_path

_COLOURS = dict(zip(DEPTHS, ("#0b6e8f", "#c8553d"), strict=True))  # told apart by colour-blind readers too
_MARKERS = dict(zip(DEPTHS, ("o", "s"), strict=True))
_INK, _PALE = "#222222", "#d9d9d9"


def save(overlaps: Sequence[Overlap], n_pairs: int, path: Path) -> Path:
    """Draw the overlaps and write them as a PNG.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    figure = draw(overlaps, n_pairs)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=160)
    return path


def draw(overlaps: Sequence[Overlap], n_pairs: int) -> Any:
    """The figure: one line for each depth, dashed without rerank and solid with it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    figure = Figure(figsize=(7.6, 4.9), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k in DEPTHS:
        for rerank in (True, False):
            points = [(row.n_bits, row.overlap) for row in overlaps if row.k == k and row.rerank == rerank]
            how = f"reranked by cosine ({RERANK}k candidates)" if rerank else "Hamming distance alone"
            axes.plot(
                *zip(*points, strict=True), color=_COLOURS[k], marker=_MARKERS[k], linewidth=2.2, markersize=7,
                linestyle="-" if rerank else (0, (4, 2)), markerfacecolor=_COLOURS[k] if rerank else "white",
                markeredgewidth=1.8, label=f"k = {k}, {how}", clip_on=False, zorder=3,
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(BITS, [f"{n_bits}\n{n_bits // 8} bytes" for n_bits in BITS])
    axes.minorticks_off()
    axes.set_xlim(BITS[0] / 1.15, BITS[-1] * 1.15)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "20 %", "40 %", "60 %", "80 %", "100 %"])
    axes.set_xlabel("bits of a code", color=_INK)
    axes.set_ylabel("overlap@k with exact cosine", color=_INK)
    axes.set_title(
        "How many of the exact nearest neighbours the codes find\n",
        loc="left",
        fontsize=13,
        fontweight="bold",
        color=_INK,
    )
    axes.text(
        0, 1.03, f"{n_pairs:,} docstrings of the Python standard library, searched among as many function bodies",
        transform=axes.transAxes, fontsize=9.5, color="#555555",
    )  # fmt: skip
    axes.grid(color=_PALE, linewidth=0.8, zorder=0)
    axes.tick_params(length=0, colors=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#888888")
    axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none", fontsize=9.5, handlelength=3.2)
    return figure
