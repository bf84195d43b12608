"""``hashneg mine``: mine slice by slice, keep each finished slice, then write the output as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hashneg.cli import array_files, row_files, slices
from hashneg.cli.console import Console
from hashneg.cli.guard import CommandError, stop_code
from hashneg.cli.inputs import Inputs
from hashneg.cli.options import MineOptions
from hashneg.cli.parts import Parts
from hashneg.cli.setup import Setup, backend_of_process, check_paths, in_options, prepare
from hashneg.files import atomic_path
from hashneg.mining import MiningReport
from hashneg.mining.job import Mined, MiningJob

Span = tuple[int, int]


def run_mine(options: MineOptions) -> int:
    """Run the job of `options`; returns the exit code."""
    console = Console(options.quiet)
    suffix = check_paths(options)
    with ExitStack() as stack:
        stack.enter_context(console.warnings())
        stack.enter_context(backend_of_process(options.backend))
        inputs = stack.enter_context(Inputs(options.output, console.say))
        try:
            setup = prepare(options, inputs, console)
            parts = Parts(options.output, setup.job_id)
            stack.callback(parts.tidy)
            spans = _spans(setup.start, setup.stop, options.slice_rows or setup.job.slice_rows)
        except KeyboardInterrupt as stop:
            console.say("stopped before mining began; nothing was written")
            return stop_code(stop)
        try:
            _mine(setup, spans, parts, console, options)
            about = _about(setup, spans, parts)
            _write(options.output, suffix, setup, spans, parts, about)
        except KeyboardInterrupt as stop:
            console.say(_how_to_go_on(spans, parts))
            return stop_code(stop)
        report = _report(setup.job, spans, parts, about)
        parts.remove()
        if options.report is not None:
            _write_report(options.report, report, about)
        console.table(f"Mined to {options.output}", report.rows())
    return 0


def _how_to_go_on(spans: list[Span], parts: Parts) -> str:
    finished = sum(parts.path(*span).is_file() for span in spans)
    if not finished:
        return "stopped before the first slice was finished; nothing was written"
    return (
        f"stopped; {finished} of {len(spans)} slices are kept in {parts.folder}, "
        "run the same command again to go on from there"
    )


def _spans(start: int, stop: int, rows: int) -> list[Span]:
    """Slices of at most `rows` anchors, cut at multiples of it, so that other --rows share them."""
    edges = [start, *range((start // rows + 1) * rows, stop, rows), stop]
    return list(pairwise(edges))


def _mine(setup: Setup, spans: list[Span], parts: Parts, console: Console, options: MineOptions) -> None:
    """Mine every slice that is not finished yet."""
    job = setup.job
    if others := parts.others():
        console.say(
            f"{parts.folder} holds finished slices of {others} other job{'s' * (others > 1)}, with other inputs or "
            "options; they are not used, and are removed when this job ends"
        )
    try:
        if job.quantizer.dim is None:
            with console.progress("fitting on", len(job.corpus), "row") as update:
                job.fit(update)
        with console.progress("encoding", len(job.corpus), "row") as update:
            job.prepare(update)
        quantizer = job.quantizer.fingerprint
        missing = [span for span in spans if not parts.has(*span, quantizer)]
        total = setup.stop - setup.start
        done = total - sum(stop - start for start, stop in missing)
        if done:
            console.say(f"{len(spans) - len(missing)} of {len(spans)} slices were finished before, in {parts.folder}")
        with console.progress("mining", total, "anchor", done) as update:
            for start, stop in missing:
                parts.save(start, stop, job.mine(start, stop), quantizer)
                done += stop - start
                update(done, total)
    except (ValueError, TypeError) as error:
        raise CommandError(in_options(str(error), options)) from None


def _about(setup: Setup, spans: list[Span], parts: Parts) -> dict[str, Any]:
    """What the output says about itself."""
    job = setup.job
    counts = [
        {"mined": int(found.counts.sum()), "short": int((found.counts < job.k).sum()), "removed": removed}
        for found, removed in (parts.read(*span) for span in spans)
    ]
    return {
        **setup.about,
        "job": setup.job_id,
        "quantizer": job.quantizer.fingerprint,
        "rows": [setup.start, setup.stop],
        **slices.summed(counts),
    }


def _write(output: Path, suffix: str, setup: Setup, spans: list[Span], parts: Parts, about: dict[str, Any]) -> None:
    if suffix in slices.ARRAY_SUFFIXES:
        names = ["indices", "scores", "counts"] + ["positive_scores"] * (setup.job.masks.positives is not None)
        streams = slices.array_streams([parts.path(*span) for span in spans], names)
        write = array_files.write_npz if suffix == ".npz" else array_files.write_safetensors
        write(output, streams, about)
        return
    tables = _tables(setup, spans, parts)
    if suffix == ".parquet":
        row_files.write_parquet(output, setup.records.schema, tables, about)
    else:
        is_slice = setup.stop - setup.start < len(setup.job.anchors)
        row_files.write_jsonl(output, row_files.json_lines(tables), about, is_slice)


def _tables(setup: Setup, spans: list[Span], parts: Parts) -> Iterator[Any]:
    for span in spans:
        yield from setup.records.tables(parts.read(*span)[0])


def _report(job: MiningJob, spans: list[Span], parts: Parts, about: dict[str, Any]) -> MiningReport:
    scores, counts, positive_scores = (parts.gathered(spans, name) for name in ("scores", "counts", "positive_scores"))
    return job.report(Mined(np.empty((0, job.k), np.int64), scores, counts, positive_scores, about["removed"]))


def _write_report(path: Path, report: MiningReport, about: dict[str, Any]) -> None:
    text = json.dumps({"job": about, "report": asdict(report)}, indent=1, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
