"""Codes as a container of rows: indexing, iteration, pickling, files."""

import copy
import pickle

import numpy as np
import pytest
from helpers.processes import run_python
from hypothesis import given
from hypothesis import strategies as st

import hashneg as hn


def some_codes(n: int = 7, n_bits: int = 13) -> hn.Codes:
    return hn.Codes.from_signs(np.random.default_rng(n).standard_normal((n, n_bits)))


def test_an_integer_gives_codes_of_length_1(framework):
    data = some_codes().data
    codes = hn.Codes(framework.array(data), 13)
    for row in (0, 6, -1, -7, np.int64(3), np.uint8(3)):
        one = codes[row]
        assert isinstance(one, hn.Codes)
        assert one.n_bits == 13
        assert len(one) == 1
        np.testing.assert_array_equal(framework.to_numpy(one.data), data[[row]])


def test_row_id_0_is_a_row():
    codes = some_codes()
    np.testing.assert_array_equal(codes[0].data, codes.data[:1])
    np.testing.assert_array_equal(codes[np.array([0])].data, codes.data[:1])


@pytest.mark.parametrize("row", [7, -8, 10**20])
def test_rows_out_of_range_raise(row):
    with pytest.raises(IndexError, match=f"row {row} is out of range for 7 codes"):
        some_codes()[row]


@given(
    start=st.integers(-9, 9) | st.none(),
    stop=st.integers(-9, 9) | st.none(),
    step=st.sampled_from([None, 1, 2, -1, -3]),
)
def test_slices_are_those_of_numpy(start, stop, step):
    codes = some_codes()
    part = codes[start:stop:step]
    np.testing.assert_array_equal(part.data, codes.data[start:stop:step])
    np.testing.assert_array_equal(part.to_signs(), codes.to_signs()[start:stop:step])


def test_index_and_mask_arrays_of_every_framework(framework):
    data = some_codes().data
    codes = hn.Codes(framework.array(data), 13)
    for key in (np.array([3, 3, 0, -1]), np.array([], np.int64), np.arange(7) % 2 == 0):
        part = codes[framework.array(key)]
        np.testing.assert_array_equal(framework.to_numpy(part.data), data[key])
        np.testing.assert_array_equal(part.host, data[key])
    assert len(codes[[1, 2]]) == 2


def test_columns_cannot_be_indexed():
    for key in ((0, 1), (slice(None), 0), ()):
        with pytest.raises(TypeError, match=r"indexed by rows: .* got tuple"):
            some_codes()[key]


@pytest.mark.parametrize(
    "key",
    ["a", 1.0, None, ..., True, np.True_, np.zeros((2, 2), np.int64), np.array([0.5]), np.array(True), [[0]]],
    ids=repr,
)
def test_keys_that_would_give_malformed_codes_are_refused(key):
    with pytest.raises(TypeError, match="indexed by rows: an integer, a slice, or a vector of integers or bools"):
        some_codes()[key]


def test_index_arrays_out_of_range_raise():
    for key in (np.array([7]), np.array([0, -8]), np.ones(6, bool)):
        with pytest.raises(IndexError):
            some_codes()[key]


def test_scalar_tensors_are_integers(framework):
    codes = some_codes()
    np.testing.assert_array_equal(codes[framework.array(np.int32(3))].data, codes.data[3:4])


def test_iteration_gives_codes_of_length_1():
    codes = some_codes()
    rows = list(codes)
    assert [len(row) for row in rows] == [1] * 7
    np.testing.assert_array_equal(np.concatenate([row.data for row in rows]), codes.data)


def test_codes_are_not_silently_taken_for_an_array():
    with pytest.raises(TypeError, match=r"take codes.data \(packed bytes\) or codes.to_signs\(\)"):
        np.asarray(some_codes())


def test_repr_says_what_they_are(framework):
    text = repr(hn.Codes(framework.array(some_codes().data), 13))
    assert text.startswith("Codes(7 x 13 bits, ")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_hold_the_bytes_once(protocol, framework):
    data = np.random.default_rng(0).integers(0, 256, (4096, 16), dtype=np.uint8)
    codes = hn.Codes(framework.array(data), 128)
    pickled = pickle.dumps(codes, protocol)
    back = pickle.loads(pickled)
    assert framework.owns(back.data)
    assert back.n_bits == 128
    np.testing.assert_array_equal(back.host, data)
    if protocol == 5 and framework.name == "torch":
        assert len(pickled) < 1.5 * data.nbytes


def test_copies_are_equal():
    codes = some_codes()
    for other in (copy.copy(codes), copy.deepcopy(codes)):
        np.testing.assert_array_equal(other.data, codes.data)
        assert other.n_bits == codes.n_bits


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_codes_travel_to_worker_processes(method):
    """In a process of its own: forking one that holds the threads of JAX or TensorFlow may hang."""
    program = f"""
import multiprocessing
import numpy as np
import hashneg as hn

if __name__ == "__main__":
    codes = hn.Codes.from_signs(np.random.default_rng(0).standard_normal((100, 77)))
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        back = pool.apply(hn.Codes.__getitem__, (codes, slice(3, 50)))
    assert back.n_bits == 77
    assert (back.data == codes.data[3:50]).all()
    print("travelled")
"""
    assert run_python(program).stdout == "travelled\n"


class TestFiles:
    @pytest.mark.parametrize(("n", "n_bits"), [(0, 5), (1, 1), (7, 13), (100, 256)])
    def test_what_was_saved_is_loaded(self, tmp_path, n, n_bits):
        codes = some_codes(n, n_bits)
        codes.save(tmp_path / "c.safetensors")
        back = hn.Codes.load(str(tmp_path / "c.safetensors"))
        assert back.n_bits == n_bits
        np.testing.assert_array_equal(back.data, codes.data)

    def test_every_framework_saves_the_same_bytes(self, tmp_path, framework):
        codes = some_codes()
        codes.save(tmp_path / "numpy")
        hn.Codes(framework.array(codes.data), 13).save(tmp_path / "other")
        assert (tmp_path / "numpy").read_bytes() == (tmp_path / "other").read_bytes()

    def test_every_truncation_is_refused(self, tmp_path):
        some_codes().save(tmp_path / "whole")
        whole = (tmp_path / "whole").read_bytes()
        for size in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1}:
            (tmp_path / "cut").write_bytes(whole[:size])
            with pytest.raises(ValueError, match=r"^path '.*cut' is not a whole safetensors file"):
                hn.Codes.load(tmp_path / "cut")

    @pytest.mark.parametrize("content", [b"not a file of ours", b"\x93NUMPY\x01\x00", b"\x00" * 64, b"\xff" * 64])
    def test_foreign_files_are_refused(self, tmp_path, content):
        (tmp_path / "foreign").write_bytes(content)
        with pytest.raises(ValueError, match=r"^path '.*foreign' "):
            hn.Codes.load(tmp_path / "foreign")

    def test_safetensors_of_others_are_refused(self, tmp_path):
        from safetensors.numpy import save_file

        save_file({"codes": np.zeros((2, 2), np.uint8)}, tmp_path / "other")
        with pytest.raises(ValueError, match="was not written by hashneg"):
            hn.Codes.load(tmp_path / "other")

    def test_a_quantizer_is_not_loaded_as_codes(self, tmp_path):
        hn.BinaryQuantizer(4).fit(np.eye(4)).save(tmp_path / "q")
        with pytest.raises(ValueError, match="holds 'quantizer', not 'codes'"):
            hn.Codes.load(tmp_path / "q")

    @pytest.mark.parametrize(
        "about",
        [
            "nonsense", "[]", "3", '{"kind": "codes"}', '{"kind": "codes", "n_bits": "many"}',
            '{"kind": "codes", "n_bits": 99}', '{"kind": "codes", "n_bits": 3}',
        ],
    )  # fmt: skip
    def test_damaged_metadata_is_refused(self, tmp_path, about):
        from safetensors.numpy import save_file

        save_file({"codes": np.full((2, 1), 255, np.uint8)}, tmp_path / "bad", metadata={"hashneg": about})
        with pytest.raises(ValueError, match=r"^path '.*bad' "):
            hn.Codes.load(tmp_path / "bad")

    def test_missing_files_and_folders_are_not_loaded(self, tmp_path):
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(FileNotFoundError, match="is not a file"):
                hn.Codes.load(path)
