"""The arguments and options of ``hashneg mine``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

_INPUT, _CODES, _SEARCH, _FILTERS, _RUN = "Input", "Codes", "Search", "Filters", "Run and output"


def _option(help: str, *names: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar)


_FILE = "FILE[:NAME]"


@dataclass(frozen=True)
class MineOptions:
    """One field per argument or option."""

    anchors: Annotated[
        list[str],
        typer.Argument(
            metavar="ANCHORS",
            help="Embeddings, several files are stacked by rows: .npy, .npz, .safetensors or .parquet "
            "(a column of lists). NAME chooses the array or column.",
        ),
    ]
    output: Annotated[
        Path, _option("Where to write: .npz, .safetensors, .parquet or .jsonl.", "-o", "--output", panel=_RUN)
    ]
    corpus: Annotated[
        list[str] | None,
        _option(
            "Embeddings to mine from; repeat it to stack files. Without it, anchors are mined from each other.",
            "--corpus",
            panel=_INPUT,
            metavar=_FILE,
        ),
    ] = None
    positives: Annotated[
        str | None,
        _option(
            "Corpus rows that are positives of each anchor, (n,) or (n, p), padded with -1; a "
            "column of lists of any length.",
            "--positives",
            panel=_INPUT,
            metavar=_FILE,
        ),
    ] = None
    labels: Annotated[
        str | None,
        _option(
            "Integer labels of the anchors; rows of the same label are not mined.",
            "--labels",
            panel=_INPUT,
            metavar=_FILE,
        ),
    ] = None
    corpus_labels: Annotated[
        str | None, _option("Integer labels of the corpus.", "--corpus-labels", panel=_INPUT, metavar=_FILE)
    ] = None
    query_ids: Annotated[
        str | None,
        _option(
            "The corpus row that each anchor is, or -1; it is not mined.", "--query-ids", panel=_INPUT, metavar=_FILE
        ),
    ] = None
    exclude: Annotated[
        str | None,
        _option(
            "Further corpus rows not to mine for each anchor, padded with -1.", "--exclude", panel=_INPUT, metavar=_FILE
        ),
    ] = None
    allow: Annotated[
        str | None,
        _option(
            "Only these corpus rows: bool (m,) or (n, m), or packed uint8, low bit first.",
            "--allow",
            panel=_INPUT,
            metavar=_FILE,
        ),
    ] = None
    texts: Annotated[
        str | None,
        _option(
            "Texts of the anchors, written to .parquet and .jsonl: .txt with one per line, .jsonl "
            "or .parquet with a field 'text' or FIELD.",
            "--texts",
            panel=_INPUT,
            metavar="FILE[:FIELD]",
        ),
    ] = None
    corpus_texts: Annotated[
        str | None, _option("Texts of the corpus.", "--corpus-texts", panel=_INPUT, metavar="FILE[:FIELD]")
    ] = None

    bits: Annotated[int | None, _option("Bits of a code; 512 by default.", "--bits", panel=_CODES)] = None
    rotation: Annotated[
        str | None,
        _option("orthogonal, gaussian, hadamard, itq or identity; orthogonal by default.", "--rotation", panel=_CODES),
    ] = None
    center: Annotated[str | None, _option("mean, median or none; mean by default.", "--center", panel=_CODES)] = None
    quantizer: Annotated[
        Path | None,
        _option("A quantizer saved by BinaryQuantizer.save, instead of fitting one.", "--quantizer", panel=_CODES),
    ] = None

    k: Annotated[int, _option("Negatives per anchor.", "-k", panel=_SEARCH)] = 16
    rerank: Annotated[
        str,
        _option(
            "Reorder this many times k candidates by exact similarity; 0 keeps Hamming order; rabitq or rabitq:8 "
            "reorders by an estimate from codes.",
            "--rerank",
            panel=_SEARCH,
        ),
    ] = "4"
    similarity: Annotated[str, _option("cosine or dot.", "--similarity", panel=_SEARCH)] = "cosine"
    probe: Annotated[
        float, _option("Below 1, search only the most promising share of the corpus.", "--probe", panel=_SEARCH)
    ] = 1.0
    strategy: Annotated[
        str,
        _option(
            "top takes the first k of those left; random draws k; unremix, hcl and soft_info_nce draw by a weight.",
            "--strategy",
            panel=_SEARCH,
        ),
    ] = "top"
    strategy_options: Annotated[
        str | None,
        _option(
            "Of the weight, as JSON: '{\"temperature\": 0.1}' for hcl.",
            "--strategy-options",
            panel=_SEARCH,
            metavar="JSON",
        ),
    ] = None
    seed: Annotated[int, _option("Of the rotation and of the strategies that draw.", "--seed", panel=_SEARCH)] = 0

    range_min: Annotated[
        int, _option("First rank to keep, from 0, among those the other filters left.", "--range-min", panel=_FILTERS)
    ] = 0
    range_max: Annotated[int | None, _option("Keep ranks below this one.", "--range-max", panel=_FILTERS)] = None
    min_score: Annotated[float | None, _option("Lowest score to keep.", "--min-score", panel=_FILTERS)] = None
    max_score: Annotated[float | None, _option("Highest score to keep.", "--max-score", panel=_FILTERS)] = None
    absolute_margin: Annotated[
        float | None,
        _option("Keep scores at most the lowest positive's minus this.", "--absolute-margin", panel=_FILTERS),
    ] = None
    relative_margin: Annotated[
        float | None, _option("Keep scores at most pos - |pos| times this.", "--relative-margin", panel=_FILTERS)
    ] = None

    backend: Annotated[str, _option("auto, cpu or reference.", "--backend", panel=_RUN)] = "auto"
    threads: Annotated[int | None, _option("Threads; all cores by default.", "--threads", panel=_RUN)] = None
    rows: Annotated[
        str | None,
        _option(
            "Mine only the anchors A to B-1; hashneg merge joins such slices.", "--rows", panel=_RUN, metavar="A:B"
        ),
    ] = None
    slice_rows: Annotated[
        int | None,
        _option(
            "Anchors mined and saved at a time; fewer need less memory. The result is the same.",
            "--slice-rows",
            panel=_RUN,
        ),
    ] = None
    format: Annotated[
        str | None,
        _option(
            "Rows for training in .parquet and .jsonl: triplet, n-tuple, labeled-pair or labeled-list.",
            "--format",
            panel=_RUN,
        ),
    ] = None
    report: Annotated[Path | None, _option("Also write the summary as JSON.", "--report", panel=_RUN)] = None
    quiet: Annotated[bool, _option("Print nothing but errors.", "--quiet", panel=_RUN)] = False
