"""Slices join to the bytes of one run, and nothing else joins."""

from __future__ import annotations

import shutil
from itertools import pairwise

import numpy as np
import pytest

TEXTS = "--texts anchors.txt --corpus-texts corpus.txt"
KINDS = {
    "npz": "",
    "safetensors": "",
    "parquet": "",
    "jsonl": "",
    "parquet-texts": TEXTS,
    "jsonl-triplet": "--format triplet",
    "parquet-n-tuple": f"--format n-tuple {TEXTS}",
    "jsonl-labeled-pair": f"--format labeled-pair {TEXTS}",
    "parquet-labeled-list": "--format labeled-list",
    "jsonl-random": "--strategy random --range-max 12",
}
CUTS = [[0, 230], [0, 61, 230], [0, 1, 200, 230]]


@pytest.mark.parametrize("cuts", CUTS, ids=lambda cuts: f"{len(cuts) - 1} slices")
@pytest.mark.parametrize("kind", KINDS)
def test_merged_slices_are_the_bytes_of_one_run(kind, cuts, mine, cli):
    suffix, more = kind.partition("-")[0], f"{KINDS[kind]} --relative-margin 0.3"
    whole = mine(f"whole.{suffix}", more).read_bytes()
    parts = [
        mine(f"part-{i}.{suffix}", f"{more} --rows {start}:{stop} --slice-rows 50")
        for i, (start, stop) in enumerate(pairwise(cuts))
    ]
    if suffix == "jsonl" and len(cuts) == 2:
        assert parts[0].read_bytes() == whole  # one run, with no last line that says which slice it is
        return
    for order in (parts, parts[::-1]):
        names = " ".join(path.name for path in order)
        ran = cli(f"merge {names} -o merged.{suffix}")
        assert ran.code == 0, ran.err
        assert (parts[0].parent / f"merged.{suffix}").read_bytes() == whole


def test_rows_over_everything_is_one_run(mine):
    whole = mine("whole.jsonl").read_bytes()
    assert mine("rows.jsonl", "--rows 0:230").read_bytes() == whole
    assert mine("open.jsonl", "--rows :").read_bytes() == whole


@pytest.fixture
def slices(mine):
    return [mine("a.npz", "--rows 0:100"), mine("b.npz", "--rows 100:230")]


def refused(ran, files, *words):
    assert ran.code == 2
    assert ran.err.startswith("hashneg: error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err
    assert not any(name.startswith(("out", ".out")) for name in files.names())


def test_gap_is_refused(slices, mine, cli, files):
    mine("c.npz", "--rows 120:230")
    refused(cli("merge a.npz c.npz -o out.npz"), files, "100:120", "missing")
    refused(cli("merge a.npz -o out.npz"), files, "100:230", "missing")
    refused(cli("merge b.npz -o out.npz"), files, "0:100", "missing")


def test_overlap_is_refused(slices, mine, cli, files):
    mine("c.npz", "--rows 99:230")
    refused(cli("merge a.npz c.npz -o out.npz"), files, "overlaps")
    refused(cli("merge a.npz b.npz a.npz -o out.npz"), files, "overlaps")


@pytest.mark.parametrize(
    ("more", "word"), [("--seed 1", "seed"), ("--rerank 3", "rerank"), ("--max-score 0.9", "max_score")]
)
def test_slices_of_other_options_are_refused(more, word, slices, mine, cli, files):
    mine("c.npz", f"--rows 100:230 {more}")
    refused(cli("merge a.npz c.npz -o out.npz"), files, "not slices of one job", word)


def test_slices_of_other_inputs_are_refused(slices, mine, cli, files):
    files.corpus[13, 3] += 1
    np.save("corpus.npy", files.corpus)
    mine("c.npz", "--rows 100:230")
    refused(cli("merge a.npz c.npz -o out.npz"), files, "not slices of one job", "inputs (corpus)")


def test_slices_of_other_formats_and_texts_are_refused(mine, cli, files):
    mine("a.jsonl", f"--rows 0:100 --format triplet {TEXTS}")
    mine("b.jsonl", f"--rows 100:230 --format labeled-pair {TEXTS}")
    refused(cli("merge a.jsonl b.jsonl -o out.jsonl"), files, "format")
    with open("corpus.txt", "r+", encoding="utf-8") as texts:
        texts.write("P")
    mine("c.jsonl", f"--rows 100:230 --format triplet {TEXTS}")
    refused(cli("merge a.jsonl c.jsonl -o out.jsonl"), files, "corpus_texts")


def test_copies_elsewhere_are_slices_of_the_same_job(slices, cli, files):
    """Paths and times of files do not count, contents do."""
    whole = cli("mine anchors.npy --bits 64 -k 2 -o whole.npz")
    (files.folder / "copy").mkdir()
    shutil.copy("anchors.npy", "copy/renamed.npy")
    assert cli("mine anchors.npy --bits 64 -k 2 --rows 0:9 -o c.npz").code == whole.code == 0
    assert cli("mine copy/renamed.npy --bits 64 -k 2 --rows 9: -o d.npz").code == 0
    assert cli("merge d.npz c.npz -o merged.npz").code == 0
    assert (files.folder / "merged.npz").read_bytes() == (files.folder / "whole.npz").read_bytes()


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "jsonl"])
def test_truncated_slice_is_refused(suffix, mine, cli, files):
    mine(f"a.{suffix}", "--rows 0:100")
    path = mine(f"b.{suffix}", "--rows 100:230")
    content = path.read_bytes()
    for length in (0, 5, len(content) // 2, len(content) - 9):
        path.write_bytes(content[:length])
        refused(cli(f"merge a.{suffix} b.{suffix} -o out.{suffix}"), files, f"b.{suffix}")


def test_jsonl_slice_that_lost_a_line_is_refused(mine, cli, files):
    mine("a.jsonl", "--rows 0:100")
    path = mine("b.jsonl", "--rows 100:230")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:40] + lines[41:]))
    refused(cli("merge a.jsonl b.jsonl -o out.jsonl"), files, "130", "129")


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "jsonl"])
def test_foreign_files_are_refused(suffix, cli, files):
    import pyarrow as pa
    import pyarrow.parquet as pq
    import safetensors.numpy

    array = np.arange(6.0)
    if suffix == "npz":
        np.savez("foreign.npz", indices=array)
    elif suffix == "safetensors":
        safetensors.numpy.save_file({"indices": array}, "foreign.safetensors")
    elif suffix == "parquet":
        pq.write_table(pa.table({"anchor": array}), "foreign.parquet")
    else:
        (files.folder / "foreign.jsonl").write_text('{"anchor": 1}\n')
    refused(cli(f"merge foreign.{suffix} -o out.{suffix}"), files, f"foreign.{suffix}", "hashneg mine")


def test_parts_of_a_job_under_way_are_no_slices(cli, files):
    from hashneg.cli.array_files import write_safetensors

    write_safetensors(files.folder / "part.safetensors", {}, {"kind": "part of a job", "rows": [0, 9]})
    refused(cli("merge part.safetensors -o out.safetensors"), files, "no result of hashneg mine")


def test_output_of_another_kind_or_among_the_slices_is_refused(slices, cli, files):
    refused(cli("merge a.npz b.npz -o out.jsonl"), files, "a.npz", ".jsonl")
    refused(cli("merge a.npz b.npz -o a.npz"), files, "--output", "one of the slices")
    refused(cli("merge a.npz missing.npz -o out.npz"), files, "missing.npz")
