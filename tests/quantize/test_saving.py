"""Quantizers on disk and between processes."""

import copy
import json
import pickle

import numpy as np
import pytest
from helpers import projections
from helpers.processes import run_python
from helpers.projections import CENTERS, ROTATIONS
from safetensors import safe_open
from safetensors.numpy import save_file

import hashneg as hn


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_loaded_quantizer_gives_the_same_codes(tmp_path, backend, rotation, center):
    x = projections.data()
    fitted = projections.quantizer(rotation, center, seed=2**70).fit(x)
    fitted.save(tmp_path / "q")
    loaded = hn.BinaryQuantizer.load(str(tmp_path / "q"))
    assert loaded.fingerprint == fitted.fingerprint
    assert repr(loaded) == repr(fitted)
    np.testing.assert_array_equal(loaded.encode(x).data, fitted.encode(x).data)
    np.testing.assert_array_equal(loaded.project(x), fitted.project(x))
    np.testing.assert_array_equal(loaded.thresholds, fitted.thresholds)
    if center == "mean":
        np.testing.assert_array_equal(loaded._total, fitted._total)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "q").read_bytes()


def test_a_loaded_quantizer_cannot_be_fitted_further_but_anew(tmp_path):
    x = projections.data()
    hn.BinaryQuantizer(24).fit(x).save(tmp_path / "q")
    loaded = hn.BinaryQuantizer.load(tmp_path / "q")
    before = loaded.fingerprint
    with pytest.raises(ValueError, match=r"a loaded quantizer cannot be fitted further.*use fit"):
        loaded.partial_fit(x)
    assert loaded.fingerprint == before
    other = projections.data(seed=4)
    assert loaded.fit(other).fingerprint == hn.BinaryQuantizer(24).fit(other).fingerprint
    loaded.partial_fit(x)


def read(path) -> tuple[dict, dict]:
    with safe_open(path, framework="numpy") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}, json.loads(opened.metadata()["hashneg"])  # noqa: SIM118


def _flip_a_threshold(tensors, about):
    tensors["thresholds"][3] += 1e-9


def _swap_two_thresholds(tensors, about):
    tensors["thresholds"][[0, 1]] = tensors["thresholds"][[1, 0]]


def _transpose_the_matrix(tensors, about):
    tensors["matrix"] = tensors["matrix"].reshape(40, 24)


def _claim_another_rotation(tensors, about):
    about["rotation"] = "gaussian"


def _claim_other_dimensions(tensors, about):
    about["dim"] = 39


def _claim_other_bits(tensors, about):
    about["n_bits"] = 23


def _claim_no_bits(tensors, about):
    about["n_bits"] = 0


def _drop_the_matrix(tensors, about):
    del tensors["matrix"]


def _drop_the_thresholds(tensors, about):
    del tensors["thresholds"]


def _cut_the_total(tensors, about):
    tensors["total"] = tensors["total"][:-1]


def _drop_the_fingerprint(tensors, about):
    del about["fingerprint"]


def _claim_another_fingerprint(tensors, about):
    about["fingerprint"] = "0" * 32


@pytest.mark.parametrize(
    "change",
    [
        _flip_a_threshold, _swap_two_thresholds, _transpose_the_matrix, _claim_another_rotation,
        _claim_other_dimensions, _claim_other_bits, _claim_no_bits, _drop_the_matrix, _drop_the_thresholds,
        _cut_the_total, _drop_the_fingerprint, _claim_another_fingerprint,
    ],
)  # fmt: skip
def test_a_file_changed_after_saving_is_refused(tmp_path, change):
    hn.BinaryQuantizer(24).fit(projections.data()).save(tmp_path / "q")
    tensors, about = read(tmp_path / "q")
    change(tensors, about)
    save_file(tensors, tmp_path / "q", metadata={"hashneg": json.dumps(about)})
    with pytest.raises(ValueError, match="q' does not match its fingerprint; it was changed after saving"):
        hn.BinaryQuantizer.load(tmp_path / "q")


def test_an_unchanged_file_written_anew_is_taken(tmp_path):
    fitted = hn.BinaryQuantizer(24).fit(projections.data())
    fitted.save(tmp_path / "q")
    tensors, about = read(tmp_path / "q")
    save_file(tensors, tmp_path / "q", metadata={"hashneg": json.dumps(about)})
    assert hn.BinaryQuantizer.load(tmp_path / "q").fingerprint == fitted.fingerprint


def test_a_file_without_the_mean_of_an_earlier_version_is_taken(tmp_path):
    fitted = hn.BinaryQuantizer(24).fit(projections.data())
    fitted.save(tmp_path / "q")
    tensors, about = read(tmp_path / "q")
    del tensors["total"]
    save_file(tensors, tmp_path / "q", metadata={"hashneg": json.dumps(about)})
    loaded = hn.BinaryQuantizer.load(tmp_path / "q")
    assert loaded.fingerprint == fitted.fingerprint
    loaded.save(tmp_path / "again")
    assert read(tmp_path / "again")[0].keys() == tensors.keys()


def test_truncated_and_foreign_files_are_refused(tmp_path):
    hn.BinaryQuantizer(24).fit(projections.data()).save(tmp_path / "q")
    whole = (tmp_path / "q").read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="is not a whole safetensors file"):
            hn.BinaryQuantizer.load(tmp_path / "cut")
    hn.Codes(np.zeros((1, 1), np.uint8), 8).save(tmp_path / "codes")
    with pytest.raises(ValueError, match="holds 'codes', not 'quantizer'"):
        hn.BinaryQuantizer.load(tmp_path / "codes")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        hn.BinaryQuantizer.load(tmp_path / "none")


class TestFingerprint:
    def test_it_is_32_hexadecimal_digits_and_stays_the_same(self):
        fitted = hn.BinaryQuantizer(24).fit(projections.data())
        first = fitted.fingerprint
        assert len(first) == 32
        assert int(first, 16) >= 0
        fitted.encode(projections.data(seed=3))
        assert fitted.fingerprint == first

    def test_whatever_decides_the_codes_changes_it(self):
        x = projections.data()
        quantizers = [
            hn.BinaryQuantizer(24).fit(x),
            hn.BinaryQuantizer(25).fit(x),
            hn.BinaryQuantizer(24, seed=1).fit(x),
            hn.BinaryQuantizer(24, rotation="gaussian").fit(x),
            hn.BinaryQuantizer(24, rotation="itq").fit(x),
            hn.BinaryQuantizer(24, rotation="hadamard").fit(x),
            hn.BinaryQuantizer(24, center="median").fit(x),
            hn.BinaryQuantizer(24, center=None).fit(x),
            hn.BinaryQuantizer(24).fit(x[1:]),
            hn.BinaryQuantizer(24).fit(x[:, :30]),
        ]
        assert len({quantizer.fingerprint for quantizer in quantizers}) == len(quantizers)

    def test_rows_that_decide_nothing_do_not_change_it(self):
        x = projections.data()
        assert (
            hn.BinaryQuantizer(24, center=None).fit(x).fingerprint
            == hn.BinaryQuantizer(24, center=None).fit(x[:200]).fingerprint
        )


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_pickles_and_copies_are_equal_and_can_be_fitted_further(rotation):
    x, more = projections.data(), projections.data(seed=6)
    fitted = projections.quantizer(rotation, "median").fit(x)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert other.fingerprint == fitted.fingerprint
        np.testing.assert_array_equal(other.encode(x).data, fitted.encode(x).data)
        expected = projections.quantizer(rotation, "median").partial_fit(x).partial_fit(more).fingerprint
        assert other.partial_fit(more).fingerprint == expected
    assert fitted.n_seen == 300
    unfitted = pickle.loads(pickle.dumps(hn.BinaryQuantizer(4)))
    assert unfitted.dim is None


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_quantizers_encode_in_worker_processes(method, backend):
    program = f"""
import multiprocessing
import numpy as np
import hashneg as hn

if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((300, 33), dtype=np.float32)
    quantizer = hn.BinaryQuantizer(70).fit(x)
    expected = quantizer.encode(x).data
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        parts = pool.map(quantizer.encode, [x[:100], x[100:]])
    assert (np.concatenate([part.data for part in parts]) == expected).all()
    print("encoded")
"""
    assert run_python(program).stdout == "encoded\n"
