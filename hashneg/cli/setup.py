"""From the options of ``hashneg mine`` to a checked job: files opened, errors told in terms of options."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hashneg
from hashneg.arrays import Embeddings
from hashneg.cli import digest
from hashneg.cli.console import Console
from hashneg.cli.guard import CommandError
from hashneg.cli.inputs import Inputs
from hashneg.cli.merge import check_output
from hashneg.cli.options import MineOptions
from hashneg.cli.records import FORMATS, Records
from hashneg.cli.slices import ROW_SUFFIXES
from hashneg.cli.texts import Texts, check_lines, open_texts
from hashneg.mining.job import MiningJob
from hashneg.quantize import BinaryQuantizer

_FILES = ("positives", "labels", "corpus_labels", "query_ids", "exclude", "allow")
_PLAIN = (
    "k", "rerank", "similarity", "range_min", "range_max", "min_score", "max_score", "absolute_margin",
    "relative_margin", "strategy", "strategy_options", "probe", "seed", "backend", "threads",
)  # fmt: skip
_SEPARATE = ("threads", "backend")  # threads change no byte; the backend is named by what "auto" became


@dataclass(frozen=True)
class Setup:
    """A job and everything its output is made of.

    Attributes
    ----------
    about : dict
        What the output says about the job, without what only its end shows.
    job_id : str
        Digest of inputs and options: equal ids, equal negatives.
    """

    job: MiningJob
    records: Records
    start: int
    stop: int
    job_id: str
    about: dict[str, Any]


def check_paths(options: MineOptions) -> str:
    """The suffix of the output; CommandError if the options about files do not go together."""
    suffix = check_output(options.output)
    for name in ("format", "texts", "corpus_texts"):
        if getattr(options, name) is not None and suffix not in ROW_SUFFIXES:
            raise CommandError(f"{_flag(name)} needs an --output ending in .parquet or .jsonl, got {options.output}")
    if options.format is not None:
        if options.format not in FORMATS:
            raise CommandError(f"--format must be one of {', '.join(FORMATS)}, got {options.format!r}")
        if options.positives is None:
            raise CommandError(f"--format {options.format} has rows with a positive, so it needs --positives")
    if (options.texts is None) != (options.corpus_texts is None) and options.corpus:
        missing = "--texts" if options.texts is None else "--corpus-texts"
        raise CommandError(f"texts are written for anchors and corpus alike: {missing} is missing")
    if options.corpus_texts is not None and not options.corpus:
        raise CommandError("--corpus-texts goes with --corpus; without one, --texts serves both sides")
    if options.report is not None and (options.report.is_dir() or not options.report.parent.is_dir()):
        raise CommandError(f"--report {options.report} must name a file in a folder that exists")
    inputs = [*options.anchors, *(options.corpus or []), options.texts, options.corpus_texts, options.quantizer]
    for spec in [*inputs, *(getattr(options, name) for name in _FILES)]:
        if spec is not None:
            for path in (Path(spec), Path(str(spec).rpartition(":")[0] or spec)):
                if options.output.exists() and path.exists() and path.samefile(options.output):
                    raise CommandError(f"--output {options.output} is one of the inputs; choose another name")
    return suffix


def prepare(options: MineOptions, inputs: Inputs, console: Console) -> Setup:
    """Open the files, check everything that can be checked before the work, and identify the job."""
    arrays: dict[str, list[np.ndarray]] = {"anchors": [inputs.array("ANCHORS", spec) for spec in options.anchors]}
    if options.corpus:
        arrays["corpus"] = [inputs.array("--corpus", spec) for spec in options.corpus]
    for name in _FILES:
        if (spec := getattr(options, name)) is not None:
            arrays[name] = [inputs.array(_flag(name), spec)]
    with as_options(options):
        anchors = Embeddings(arrays["anchors"], "anchors")
        corpus = Embeddings(arrays["corpus"], "corpus") if options.corpus else None
        if len(anchors if corpus is None else corpus) == 0:
            raise CommandError(f"{'ANCHORS hold' if corpus is None else '--corpus holds'} no rows to mine from")
        quantizer = _quantizer(options)
        arguments: dict[str, Any] = {name: arrays[name][0] for name in _FILES if name in arrays}
        arguments |= _plain(options)
        job = MiningJob(
            anchors,
            corpus,
            quantizer=quantizer,
            **arguments,
        )
    start, stop = _rows(options.rows, len(anchors))
    if options.slice_rows is not None and options.slice_rows < 1:
        raise CommandError(f"--slice-rows must be at least 1, got {options.slice_rows}")
    texts, corpus_texts, content = _texts(options, job, inputs)
    settings = {name: value for name, value in _plain(options).items() if name not in _SEPARATE}
    settings["backend"] = job.backend
    settings["quantizer"] = (
        quantizer.fingerprint
        if options.quantizer
        else f"{quantizer.n_bits} bits, {quantizer.rotation}, centered by {quantizer.center}, seed {quantizer.seed}"
    )
    about = {
        "kind": "hard negatives",
        "version": hashneg.__version__,
        "anchors": len(job.anchors),
        "corpus": len(job.corpus),
        "options": settings,
        "inputs": _digests(arrays, console),
    }
    return Setup(
        job,
        Records(options.format, job.k, job.masks.positives, texts, corpus_texts),
        start,
        stop,
        digest.digest_of_json(about),
        about | content,
    )


@contextmanager
def as_options(options: MineOptions) -> Iterator[None]:
    """Tell errors of the library in terms of options and files."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise CommandError(in_options(str(error), options)) from None


def in_options(text: str, options: MineOptions) -> str:
    """`text` with the names of arguments replaced by the options that set them."""
    subject, _, rest = text.partition(" ")
    bare = re.match(r"\w*", subject)
    name = bare.group() if bare else ""
    renamed = {"n_bits": "bits", "x": "corpus" if options.corpus else "anchors"}.get(name, name)
    spec = getattr(options, renamed, None) if renamed else None
    if renamed == "anchors":
        text = f"ANCHORS ({', '.join(options.anchors)}){subject[len(name) :]} {rest}"
    elif renamed == "k" or (renamed in MineOptions.__dataclass_fields__ and renamed != "format"):
        where = f" ({', '.join(spec) if isinstance(spec, list) else spec})" if renamed in (*_FILES, "corpus") else ""
        text = f"{_flag(renamed)}{where}{subject[len(name) :]} {rest}"
    with_underscore = [name for name in (*_FILES, *_PLAIN) if "_" in name]
    for name in with_underscore:
        text = re.sub(rf"(?<![\w-]){name}(?!\w)", _flag(name), text)
    text = re.sub(r"(?<![\w-])n_bits\b", "--bits", text)
    return re.sub(r"(?<![\w-])k=", "-k ", text)


@contextmanager
def backend_of_process(backend: str) -> Iterator[None]:
    """Let fitting and encoding, which take no backend argument, use the same one as the search."""
    before = os.environ.get("HASHNEG_BACKEND")
    if backend != "auto":
        os.environ["HASHNEG_BACKEND"] = backend
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("HASHNEG_BACKEND", None)
        else:
            os.environ["HASHNEG_BACKEND"] = before


def _flag(name: str) -> str:
    return "-k" if name == "k" else f"--{name.replace('_', '-')}"


def _quantizer(options: MineOptions) -> BinaryQuantizer:
    if options.quantizer is None:
        rotation = options.rotation or "orthogonal"
        center = {None: "mean", "none": None}.get(options.center, options.center)
        return BinaryQuantizer(
            512 if options.bits is None else options.bits, rotation=rotation, center=center, seed=options.seed
        )
    for name in ("bits", "rotation", "center"):
        if getattr(options, name) is not None:
            raise CommandError(f"{_flag(name)} is set by the saved --quantizer; leave it out")
    try:
        return BinaryQuantizer.load(options.quantizer)
    except (OSError, ValueError) as error:
        raise CommandError(f"--quantizer: {error}") from None


def _rows(rows: str | None, n: int) -> tuple[int, int]:
    if rows is None:
        return 0, n
    parts = re.fullmatch(r"(\d*):(\d*)", rows)
    if parts is None:
        raise CommandError(f"--rows must be A:B with whole numbers, such as 0:1000, got {rows!r}")
    start, stop = int(parts[1] or 0), int(parts[2] or n)
    if not start < stop <= n:
        raise CommandError(f"--rows {rows} must satisfy 0 <= A < B <= {n}, the number of anchors")
    return start, stop


def _plain(options: MineOptions) -> dict[str, Any]:
    """The options that are arguments of the job as they stand, but for a number or a word, and for JSON."""
    rerank, of_strategy = options.rerank, options.strategy_options
    try:
        of_weight = None if of_strategy is None else json.loads(of_strategy)
    except json.JSONDecodeError as error:
        raise CommandError(f"--strategy-options must be JSON, got {of_strategy!r}: {error}") from None
    return {name: getattr(options, name) for name in _PLAIN} | {
        "rerank": int(rerank) if rerank.removeprefix("-").isdecimal() else rerank,
        "strategy_options": of_weight,
    }


def _texts(options: MineOptions, job: MiningJob, inputs: Inputs) -> tuple[Texts | None, Texts | None, dict[str, Any]]:
    """Texts of both sides, and what identifies the content of the output."""
    content: dict[str, Any] = {"format": options.format, "texts": None, "corpus_texts": None}
    sides: dict[str, Texts] = {}
    for name, rows in (("texts", len(job.anchors)), ("corpus_texts", len(job.corpus))):
        if (spec := getattr(options, name)) is None:
            continue
        of = "anchors" if name == "texts" else "corpus rows"
        sides[name], path = open_texts(_flag(name), spec, rows, of, inputs.temporary)
        check_lines(sides[name])
        content[name] = digest.digest_of_json({"file": digest.digest_of_file(path), "field": spec.partition(":")[2]})
    texts = sides.get("texts")
    return texts, sides.get("corpus_texts", texts if job.itself else None), content


def _digests(arrays: dict[str, list[np.ndarray]], console: Console) -> dict[str, str]:
    total = sum(array.nbytes for group in arrays.values() for array in group)
    done = 0
    digests = {}
    with console.progress("reading inputs", total, "byte") as update:

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            update(done, total)

        for name, group in arrays.items():
            digests[name] = digest.digest_of(group, advance)
    return digests
