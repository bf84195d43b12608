"""What the output files hold."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

import hashneg as hn

K = 4
FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")
# A margin, so that anchors get different numbers of negatives
MARGIN = "--relative-margin 0.35"


@pytest.fixture
def expected(files):
    return hn.mine_hard_negatives(
        files.anchors, files.corpus, positives=files.positives, quantizer=64, k=K, relative_margin=0.35
    )


def read_rows(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_arrays_are_those_of_the_library(suffix, mine, expected):
    path = mine(f"out.{suffix}", MARGIN)
    arrays = dict(np.load(path)) if suffix == "npz" else safetensors.numpy.load_file(path)
    assert set(arrays) - {"hashneg"} == {"indices", "scores", "counts", "positive_scores"}
    assert len(np.unique(expected.counts)) == K + 1, "the margin must leave uneven counts"
    np.testing.assert_array_equal(arrays["indices"], expected.indices)
    np.testing.assert_array_equal(arrays["scores"], expected.scores)
    np.testing.assert_array_equal(arrays["counts"], expected.counts)
    assert np.isnan(arrays["positive_scores"][5])
    assert np.isfinite(np.delete(arrays["positive_scores"], 5)).all()


def test_without_positives_there_are_no_positive_scores(files, cli):
    assert cli("mine anchors.npy --bits 64 -k 3 -o out.npz").code == 0
    with np.load("out.npz") as arrays:
        assert set(arrays) == {"indices", "scores", "counts", "hashneg"}
        itself = hn.mine_hard_negatives(files.anchors, quantizer=64, k=3)
        np.testing.assert_array_equal(arrays["indices"], itself.indices)


def test_strategies_and_reranks_are_those_of_the_library(files, cli):
    words = """--rerank rabitq:6 --strategy hcl --strategy-options {"temperature":0.1}"""
    assert cli(f"mine anchors.npy --bits 64 -k 3 -o out.npz {words}").code == 0
    drawn = hn.mine_hard_negatives(
        files.anchors, quantizer=64, k=3, rerank="rabitq:6", strategy="hcl", strategy_options={"temperature": 0.1}
    )
    with np.load("out.npz") as arrays:
        np.testing.assert_array_equal(arrays["indices"], drawn.indices)
        np.testing.assert_array_equal(arrays["scores"], drawn.scores)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_rows_hold_ids_and_scores_of_real_negatives(suffix, mine, expected, files):
    rows = read_rows(mine(f"out.{suffix}", MARGIN))
    assert [row["anchor"] for row in rows] == list(range(len(files.anchors)))
    for i, row in enumerate(rows):
        count = expected.counts[i]
        assert row["negatives"] == expected.indices[i, :count].tolist()
        assert np.float32(row["scores"]).tolist() == expected.scores[i, :count].tolist()
        assert row["positives"] == [p for p in files.positives[i].tolist() if p >= 0]
    assert rows[5]["positive_score"] is None
    assert rows[4]["positive_score"] is not None


def reference_rows(name, expected, positives):
    """The training formats, spelled out anchor by anchor."""
    rows = []
    for i, own in enumerate(positives.tolist()):
        own = [p for p in own if p >= 0]
        negatives = expected.indices[i, : expected.counts[i]].tolist()
        if name == "triplet":
            rows += [{"anchor": i, "positive": p, "negative": n} for p in own for n in negatives]
        elif name == "n-tuple" and len(negatives) == K:
            named = {f"negative_{j}": n for j, n in enumerate(negatives, 1)}
            rows += [{"anchor": i, "positive": p, **named} for p in own]
        elif name == "labeled-pair" and own:
            rows += [{"anchor": i, "passage": p, "label": 1} for p in own]
            rows += [{"anchor": i, "passage": n, "label": 0} for n in negatives]
        elif name == "labeled-list" and own and negatives:
            labels = [1] * len(own) + [0] * len(negatives)
            rows.append({"anchor": i, "passages": own + negatives, "labels": labels})
    return rows


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize("name", FORMATS)
def test_training_formats(name, suffix, mine, expected, files):
    rows = read_rows(mine(f"out.{suffix}", f"{MARGIN} --format {name}"))
    assert rows == reference_rows(name, expected, files.positives)


@pytest.mark.parametrize("name", FORMATS)
def test_texts_take_the_place_of_ids(name, mine, expected, files):
    rows = read_rows(mine("out.jsonl", f"{MARGIN} --format {name} --texts anchors.txt --corpus-texts corpus.txt"))

    def in_words(key, value):
        if key in ("label", "labels"):
            return value
        if isinstance(value, list):
            return [f"passage {v}" for v in value]
        return f"anchor é {value}" if key == "anchor" else f"passage {value}"

    ids = reference_rows(name, expected, files.positives)
    assert rows == [{key: in_words(key, value) for key, value in row.items()} for row in ids]


def test_texts_stand_beside_ids_without_a_format(mine):
    rows = read_rows(mine("out.parquet", "--texts anchors.txt --corpus-texts corpus.txt"))
    assert rows[8]["anchor_text"] == "anchor é 8"
    assert rows[8]["negative_texts"] == [f"passage {i}" for i in rows[8]["negatives"]]


def test_texts_serve_both_sides_without_a_corpus(files, cli):
    ran = cli("mine anchors.npy --bits 64 -k 2 --texts anchors.txt -o out.jsonl")
    assert ran.code == 0, ran.err
    rows = read_rows(files.folder / "out.jsonl")
    assert rows[3]["negative_texts"] == [f"anchor é {i}" for i in rows[3]["negatives"]]


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet", "jsonl"])
def test_same_job_gives_the_same_bytes(suffix, mine):
    one = mine(f"one.{suffix}").read_bytes()
    assert mine(f"two.{suffix}", "--slice-rows 37 --threads 1").read_bytes() == one


def test_npz_entries_carry_no_time(mine):
    with zipfile.ZipFile(mine("out.npz")) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_parquet_row_groups_do_not_depend_on_slices(mine, monkeypatch):
    from hashneg.cli import row_files

    monkeypatch.setattr(row_files, "_GROUP_ROWS", 50)
    one = mine("one.parquet", "--format labeled-pair").read_bytes()
    two = mine("two.parquet", "--format labeled-pair --slice-rows 7")
    assert two.read_bytes() == one
    sizes = [pq.ParquetFile(two).metadata.row_group(i).num_rows for i in range(3)]
    assert sizes == [50, 50, 50]


def test_infinite_scores_are_null_in_json(tmp_path):
    import pyarrow as pa

    from hashneg.cli import row_files

    table = pa.table({"scores": pa.array([[0.1, np.inf], []], pa.list_(pa.float32()))})
    lines = b"".join(row_files.json_lines([table])).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"scores": [0.1, None]}, {"scores": []}]


def test_report_is_json_with_the_library_s_counts(mine, expected, files):
    mine("out.npz", f"{MARGIN} --report report.json")
    report = json.loads((files.folder / "report.json").read_text())["report"]
    assert report["mined"] == int(expected.counts.sum())
    assert report["short"] == expected.report.short
    assert report["removed"] == expected.report.removed
    assert report["negatives"]["mean"] == pytest.approx(expected.report.negatives.mean, rel=1e-6)


def test_summary_table_and_quiet(files, cli):
    ran = cli("mine anchors.npy --bits 64 -k 2 -o out.npz")
    assert "anchors short of k" in ran.out
    assert "mining 230 anchors" in ran.err
    ran = cli("mine anchors.npy --bits 64 -k 2 -o out.npz --quiet")
    assert ran == (0, "", "")
