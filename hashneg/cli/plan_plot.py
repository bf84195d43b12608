"""The plot of a plan: overlap and recall against bits, a line for each rerank factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hashneg.files import atomic_path
from hashneg.theory import Plan

_COLOURS = ("#222222", "#0b6e8f", "#c8553d", "#6b8e23", "#8e5ea2", "#b8860b")


def save(plan: Plan, path: Path) -> Path:
    """Draw the plan and write it; the suffix of `path` decides the format.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    figure = draw(plan)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=160)
    return path


def draw(plan: Plan) -> Any:
    """The figure: overlap@k on the left, the share of nearest rows found on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which keeps global state

    figure = Figure(figsize=(9.6, 4.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    bits = sorted({row.n_bits for row in plan.rows})
    for number, rerank in enumerate(sorted({row.rerank for row in plan.rows})):
        rows = [row for row in plan.rows if row.rerank == rerank]
        label = f"rerank {rerank}" if rerank else "Hamming order"
        for axes, value in ((left, "overlap"), (right, "recall")):
            axes.errorbar(
                [row.n_bits for row in rows], [getattr(row, value) for row in rows],
                yerr=[2 * getattr(row, f"{value}_error") for row in rows], color=_COLOURS[number % len(_COLOURS)],
                marker="o", linewidth=1.8, markersize=5, capsize=2, label=label,
            )  # fmt: skip
    for axes, title, target in (
        (left, f"overlap@{plan.k} with exact cosine", "target_overlap"),
        (right, f"nearest row found among {plan.k}", "target_recall"),
    ):
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xscale("log", base=2)
        axes.set_xticks(bits, [str(n_bits) for n_bits in bits])
        axes.minorticks_off()
        axes.set_xlabel("bits of a code")
        axes.set_ylim(0, 1.02)
        axes.grid(color="#d9d9d9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if target in plan.targets:
            axes.axhline(plan.targets[target], color="#888888", linestyle=(0, (4, 3)), linewidth=1.2)
    if plan.choice is not None:
        left.plot(plan.choice.n_bits, plan.choice.overlap, "o", markersize=13, fillstyle="none", color="black")
        right.plot(plan.choice.n_bits, plan.choice.recall, "o", markersize=13, fillstyle="none", color="black")
    left.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none", fontsize=9)
    figure.suptitle(f"Predicted for {plan.n:,} rows: {plan.verdict}", fontsize=10.5, x=0.01, ha="left")
    return figure
