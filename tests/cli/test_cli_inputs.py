"""Every kind of input file gives the arrays it holds, mapped where it is large."""

from __future__ import annotations

import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from helpers.requirements import need

from hashneg.cli import inputs as inputs_module
from hashneg.cli.guard import CommandError
from hashneg.cli.inputs import Inputs

N, DIM = 300, 12


@pytest.fixture
def x():
    return np.random.default_rng(3).standard_normal((N, DIM)).astype(np.float16)


@pytest.fixture(params=["small", "large"])
def inputs(request, tmp_path, monkeypatch):
    """An `Inputs` in `tmp_path`; for "large" every file is too large to be read into memory."""
    monkeypatch.chdir(tmp_path)
    if request.param == "large":
        monkeypatch.setattr(inputs_module, "_KEPT_IN_MEMORY", 0)
        monkeypatch.setattr(inputs_module, "_BATCH_BYTES", 1000)
    said = []
    with Inputs(tmp_path / "out.npz", said.append) as opened:
        opened.said, opened.large = said, request.param == "large"
        yield opened
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "temporary files stayed"


def fixed_lists(x):
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


def test_npy_is_mapped(x, inputs):
    np.save("x.npy", x)
    array = inputs.array("ANCHORS", "x.npy")
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, x)


def test_npz_by_name_and_the_only_one(x, inputs):
    np.savez("two.npz", a=x, b=x[:5])
    np.savez_compressed("one.npz", x)
    np.testing.assert_array_equal(inputs.array("ANCHORS", "two.npz:b"), x[:5])
    array = inputs.array("ANCHORS", "one.npz")
    np.testing.assert_array_equal(array, x)
    assert isinstance(array, np.memmap) == inputs.large
    assert any("one.npz" in text for text in inputs.said) == inputs.large


def test_npz_in_fortran_order(x, inputs):
    np.savez("x.npz", x=np.asfortranarray(x))
    np.testing.assert_array_equal(inputs.array("ANCHORS", "x.npz"), x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_safetensors_are_mapped(dtype, x, inputs):
    safetensors.numpy.save_file({"x": x.astype(dtype), "other": x[:3]}, "x.safetensors")
    array = inputs.array("ANCHORS", "x.safetensors:x")
    assert isinstance(array, np.memmap)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, x.astype(dtype))


def test_safetensors_bfloat16(x, inputs, cli):
    ml_dtypes = need("ml_dtypes")
    bits = x.astype(np.float32).view(np.uint32) >> 16
    rounded = (bits << 16).view(np.float32)
    safetensors.numpy.save_file({"x": rounded.astype(ml_dtypes.bfloat16)}, "x.safetensors")
    np.testing.assert_array_equal(inputs.array("ANCHORS", "x.safetensors").astype(np.float32), rounded)
    np.save("x.npy", rounded)
    assert cli("mine x.safetensors --bits 32 -k 3 -o a.jsonl").code == 0
    assert cli("mine x.npy --bits 32 -k 3 -o b.jsonl").code == 0
    with open("a.jsonl") as a, open("b.jsonl") as b:
        assert a.read() == b.read()


def test_safetensors_at_an_odd_offset_are_aligned(x, inputs):
    """Headers need not be padded; kernels need aligned numbers."""
    values = x.astype(np.float32)
    header = json.dumps({"x": {"dtype": "F32", "shape": [N, DIM], "data_offsets": [0, values.nbytes]}})
    header += " " * (len(header) % 2 + 1 - len(header) % 2 * 2 if len(header) % 2 == 0 else 0)
    assert len(header) % 2 == 1
    with open("x.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header.encode() + values.tobytes())
    array = inputs.array("ANCHORS", "x.safetensors")
    assert array.flags.aligned
    np.testing.assert_array_equal(array, values)


def test_byte_swapped_npy_is_converted(x, inputs):
    np.save("x.npy", x.astype(">f4"))
    array = inputs.array("ANCHORS", "x.npy")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, x.astype(np.float32))


@pytest.mark.parametrize("kind", ["fixed", "variable", "large"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_parquet_list_column(kind, dtype, x, inputs):
    values = x.astype(dtype)
    column = fixed_lists(values)
    if kind != "fixed":
        offsets = np.arange(0, values.size + 1, DIM)
        maker = pa.ListArray if kind == "variable" else pa.LargeListArray
        column = maker.from_arrays(pa.array(offsets, pa.int32() if kind == "variable" else pa.int64()), values.ravel())
    pq.write_table(pa.table({"id": np.arange(N), "embedding": column}), "x.parquet", row_group_size=70)
    array = inputs.array("ANCHORS", "x.parquet:embedding")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, values)
    assert isinstance(array, np.memmap) == inputs.large


def test_parquet_numbers_and_ragged_ids(inputs):
    table = pa.table({"label": [4, 5, 6], "positives": [[1], [], [2, 0]], "word": ["a", "b", "c"]})
    pq.write_table(table, "x.parquet")
    np.testing.assert_array_equal(inputs.array("--labels", "x.parquet:label"), [4, 5, 6])
    np.testing.assert_array_equal(inputs.array("--positives", "x.parquet:positives"), [[1, -1], [-1, -1], [2, 0]])


def test_a_colon_in_a_file_s_name(x, inputs):
    np.save("a:b.npy", x)
    np.testing.assert_array_equal(inputs.array("ANCHORS", "a:b.npy"), x)


def refused(inputs, spec, *words):
    with pytest.raises(CommandError) as caught:
        inputs.array("--corpus", spec)
    for word in ("--corpus", *words):
        assert word in str(caught.value)


def test_wrong_names_are_refused(x, inputs):
    np.save("x.npy", x)
    np.savez("x.npz", a=x, b=x)
    safetensors.numpy.save_file({"a": x}, "x.safetensors")
    pq.write_table(pa.table({"id": np.arange(N), "e": fixed_lists(x), "word": ["w"] * N}), "x.parquet")
    refused(inputs, "x.npy:a", "one array")
    refused(inputs, "x.npz", "2 arrays", "x.npz:a")
    refused(inputs, "x.npz:c", "missing", "a, b")
    refused(inputs, "x.safetensors:c", "missing", "a")
    refused(inputs, "x.parquet", "2 column", "x.parquet:id")
    refused(inputs, "x.parquet:word", "is not a column of numbers")
    refused(inputs, "x.csv", ".parquet")
    refused(inputs, "absent.npy", "is not a file")


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "parquet"])
def test_truncated_and_foreign_files_are_refused(suffix, x, inputs, tmp_path):
    path = tmp_path / f"x.{suffix}"
    if suffix == "npy":
        np.save(path, x)
    elif suffix == "npz":
        np.savez(path, x=x)
    elif suffix == "safetensors":
        safetensors.numpy.save_file({"x": x}, path)
    else:
        pq.write_table(pa.table({"x": fixed_lists(x)}), path)
    whole = path.read_bytes()
    for content in (b"", whole[:7], whole[: len(whole) // 2], whole[:-5], b"not an array at all" * 50):
        path.write_bytes(content)
        refused(inputs, path.name, path.name)


def test_objects_are_refused(inputs):
    objects = np.array([{"a": 1}], object)
    np.save("x.npy", objects, allow_pickle=True)
    np.savez("x.npz", x=objects, allow_pickle=True)
    refused(inputs, "x.npy")
    refused(inputs, "x.npz:x", "Python objects")


def test_parquet_rows_without_a_value_are_refused(x, inputs):
    lists = x[:5].astype(np.float32).tolist()
    pq.write_table(pa.table({"e": pa.array([*lists[:3], None], pa.list_(pa.float32(), DIM))}), "a.parquet")
    refused(inputs, "a.parquet", "row 3")
    lists[2][4] = None
    pq.write_table(pa.table({"e": pa.array(lists, pa.list_(pa.float32(), DIM))}), "b.parquet")
    refused(inputs, "b.parquet", "row 2")
    pq.write_table(pa.table({"e": pa.array([[1.0, 2.0], [1.0]])}), "c.parquet")
    refused(inputs, "c.parquet", "1 numbers in row 1")
    pq.write_table(pa.table({"label": pa.array([1, None])}), "d.parquet")
    refused(inputs, "d.parquet", "row 1")


def test_several_files_are_stacked(files, cli):
    np.save("first.npy", files.corpus[:300])
    safetensors.numpy.save_file({"x": files.corpus[300:]}, "rest.safetensors")
    assert cli("mine anchors.npy --corpus corpus.npy --bits 64 -k 4 -o one.jsonl").code == 0
    ran = cli("mine anchors.npy --corpus first.npy --corpus rest.safetensors --bits 64 -k 4 -o two.jsonl")
    assert ran.code == 0, ran.err
    assert (files.folder / "one.jsonl").read_bytes() == (files.folder / "two.jsonl").read_bytes()


def test_labels_ids_exclude_and_allow_reach_the_search(files, cli):
    rng = np.random.default_rng(1)
    labels, corpus_labels = rng.integers(0, 5, len(files.anchors)), rng.integers(0, 5, len(files.corpus))
    allow = rng.random(len(files.corpus)) < 0.8
    np.save("labels.npy", labels.astype(np.int16))
    np.savez("more.npz", corpus_labels=corpus_labels, allow=allow, exclude=files.positives)
    ran = cli(
        "mine anchors.npy --corpus corpus.npy --labels labels.npy --corpus-labels more.npz:corpus_labels "
        "--allow more.npz:allow --exclude more.npz:exclude --bits 64 -k 4 -o out.npz"
    )
    assert ran.code == 0, ran.err
    with np.load("out.npz") as out:
        indices = out["indices"]
    assert (indices >= 0).all()
    assert allow[indices].all()
    assert (corpus_labels[indices] != labels[:, None]).all()
    assert not (indices[:, :, None] == files.positives[:, None]).any()


def test_saved_quantizer_gives_the_same_codes(files, cli):
    import hashneg as hn

    unit = files.corpus.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    quantizer = hn.BinaryQuantizer(64, rotation="gaussian", center="median", seed=5).fit(unit)
    quantizer.save("quantizer.safetensors")
    ran = cli("mine anchors.npy --corpus corpus.npy --quantizer quantizer.safetensors -k 4 --rerank 0 -o out.npz")
    assert ran.code == 0, ran.err
    wanted = hn.mine_hard_negatives(files.anchors, files.corpus, quantizer=quantizer, k=4, rerank=0)
    with np.load("out.npz") as out:
        np.testing.assert_array_equal(out["indices"], wanted.indices)
        assert json.loads(str(out["hashneg"]))["quantizer"] == quantizer.fingerprint


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "parquet"])
def test_texts_of_every_kind(suffix, tmp_path, monkeypatch):
    from hashneg.cli.texts import open_texts

    monkeypatch.chdir(tmp_path)
    texts = ["", "one", "zwei ß", "three\tthree", "四"]
    if suffix == "txt":
        (tmp_path / "t.txt").write_bytes("\r\n".join(texts).encode())
        spec = "t.txt"
    elif suffix == "jsonl":
        lines = [json.dumps({"id": i, "body": text}, ensure_ascii=i % 2 == 0) for i, text in enumerate(texts)]
        (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        spec = "t.jsonl:body"
    else:
        pq.write_table(pa.table({"text": texts, "n": range(5)}), "t.parquet", row_group_size=2)
        spec = "t.parquet"
    with Inputs(tmp_path / "out.jsonl", print) as inputs:
        opened, _ = open_texts("--texts", spec, 5, "anchors", inputs.temporary)
        assert opened.get(np.array([4, 0, 2, 2, 1, 3])) == [texts[i] for i in (4, 0, 2, 2, 1, 3)]
        with pytest.raises(CommandError, match="5 texts, but there are 6 anchors"):
            open_texts("--texts", spec, 6, "anchors", inputs.temporary)
    assert [path.name for path in tmp_path.iterdir()] == [f"t.{suffix}"]
