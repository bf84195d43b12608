"""PyTorch operators: equal to NumPy's results, sound under torch.compile, with the gradients they promise."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from helpers.requirements import missing, need

import hashneg as hn

torch = need("torch")

from hashneg.adapters.torch import Encoder, hamming_topk, operators, pack_signs, straight_through_sign  # noqa: E402

RNG = np.random.default_rng(0)


def floats(n: int, d: int, dtype: str = "float32") -> torch.Tensor:
    return torch.from_numpy(RNG.standard_normal((n, d))).to(getattr(torch, dtype))


@pytest.mark.filterwarnings("ignore:x has zeros")  # the only number of one shape
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int64"])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (7, 8), (5, 63), (3, 65)])
def test_packing_equals_numpys(shape, dtype):
    x = (3 * floats(*shape)).to(getattr(torch, dtype))
    x[:, ::3] = 0  # counts as positive
    wanted = np.packbits((x.float() >= 0).numpy(), axis=1, bitorder="little")
    packed = pack_signs(x)
    assert packed.dtype == torch.uint8
    np.testing.assert_array_equal(packed.numpy(), wanted)
    np.testing.assert_array_equal(operators._packed_by_torch(x).numpy(), wanted)  # the way on a device


def search_arguments() -> dict:
    return {
        "query_ids": torch.arange(6),
        "query_labels": torch.arange(6) % 3,
        "database_labels": torch.arange(40) % 5,
        "exclude": torch.from_numpy(RNG.integers(-1, 40, (6, 2))),
        "allow": torch.from_numpy(RNG.random((6, 40)) < 0.7),
        "max_distance": 20,
    }


@pytest.mark.parametrize("n_bits", [33, 40])
def test_search_equals_the_librarys(n_bits):
    codes = pack_signs(floats(40, n_bits))
    plain = hn.Codes(codes, n_bits)
    for options in ({}, search_arguments(), {"metric": "projected"}):
        found = hamming_topk(codes[:6], codes, 9, n_bits=n_bits, **options)
        wanted = hn.hamming_topk(plain[:6], plain, 9, **options)
        assert torch.equal(found.distances, wanted.distances)
        assert torch.equal(found.indices, wanted.indices)
    if n_bits == 40:
        assert torch.equal(hamming_topk(codes[:6], codes, 3).indices, hn.hamming_topk(plain[:6], plain, 3).indices)


@pytest.mark.filterwarnings("ignore")
def test_opcheck_passes():
    torch.library.opcheck(operators._pack, (floats(5, 19),))
    codes = pack_signs(floats(40, 24))
    options = search_arguments()
    torch.library.opcheck(operators._topk, (codes[:6], codes, 24, 7))
    torch.library.opcheck(operators._topk, (codes[:6], codes, 24, 7, *options.values()))


def mined(encode: Encoder, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    codes = encode(torch.tanh(x))
    found = hamming_topk(codes, codes, 4, query_labels=labels, database_labels=labels)
    return found.indices.clamp(min=0) + 1


@pytest.mark.filterwarnings("ignore")
def test_encoding_and_search_trace_into_one_graph_for_all_sizes():
    x, labels = floats(50, 16), torch.arange(50) // 2
    encode = Encoder(hn.BinaryQuantizer(40).fit(x))
    compiled = torch.compile(mined, fullgraph=True, backend="aot_eager", dynamic=True)
    for n in (50, 33):
        assert torch.equal(compiled(encode, x[:n], labels[:n]), mined(encode, x[:n], labels[:n]))


@pytest.mark.filterwarnings("ignore")
def test_packing_and_search_compile(monkeypatch):
    if not (shutil.which("g++") or shutil.which("clang++")):
        missing("no C++ compiler")
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # no pool of processes for one kernel

    def neighbours(x):
        codes = pack_signs(x)
        return hamming_topk(codes, codes, 4).indices

    x = floats(50, 16)
    assert torch.equal(torch.compile(neighbours, fullgraph=True)(x), neighbours(x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("rotation", ["orthogonal", "gaussian", "hadamard", "itq", "identity"])
def test_an_encoder_gives_the_quantizers_codes(rotation, dtype):
    """But for bits within rounding of their threshold, by the bound of the design."""
    x = floats(300, 24, dtype)
    n_bits = {"itq": 20, "identity": 24}.get(rotation, 70)
    quantizer = hn.BinaryQuantizer(n_bits, rotation=rotation, center="median").fit(x)
    encode = Encoder(quantizer)
    wide = x.double().numpy()
    matrix = encode.rotation.numpy()
    unit = 2.0**-53 if dtype == "float64" else 2.0**-24
    bound = 4 * (24 + 2) * unit * (np.linalg.norm(matrix, axis=1) * np.linalg.norm(wide, axis=1, keepdims=True)
                                   + np.abs(quantizer.thresholds))  # fmt: skip
    z = wide @ matrix.T - quantizer.thresholds
    bits, wanted = (hn.Codes(c, n_bits).to_signs().numpy() for c in (encode(x), quantizer.encode(x).data))
    assert (np.abs(z[bits != wanted]) <= bound[bits != wanted]).all()
    assert (bits != wanted).mean() < 1e-3
    np.testing.assert_allclose(encode.project(x).numpy(), quantizer.project(x).numpy(), atol=1e-5)
    assert encode.project(x).dtype == (torch.float64 if dtype == "float64" else torch.float32)


def test_an_encoder_is_part_of_a_model():
    encode = Encoder(hn.BinaryQuantizer(8).fit(floats(50, 4)))
    assert set(encode.state_dict()) == {"rotation", "thresholds"}
    other = Encoder(hn.BinaryQuantizer(8, seed=1).fit(floats(50, 4)))
    other.load_state_dict(encode.state_dict())
    x = floats(20, 4).requires_grad_()
    assert torch.equal(other(x), encode(x))
    assert not encode(x).requires_grad
    encode.project(x).sum().backward()
    torch.testing.assert_close(x.grad, encode.rotation.sum(0).float().expand(20, 4))
    with pytest.raises(hn.NotFittedError):
        Encoder(hn.BinaryQuantizer(8))


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_straight_through_sign(dtype, clip):
    x = torch.tensor([-2.0, -1.0, -0.5, -0.0, 0.0, 0.3, 1.5], dtype=getattr(torch, dtype), requires_grad=True)
    signs = straight_through_sign(x, clip)
    assert signs.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    weights = torch.arange(1.0, 8.0).to(x.dtype)
    (signs * weights).sum().backward()
    inside = torch.ones(7) if clip is None else torch.tensor([0.0, 1, 1, 1, 1, 1, 0])
    assert torch.equal(x.grad, weights * inside.to(x.dtype))
    rows = torch.stack([x.detach(), -x.detach() - 0.1])
    assert torch.equal(torch.func.vmap(lambda row: straight_through_sign(row, clip))(rows),
                       straight_through_sign(rows, clip))  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_the_straight_through_sign_compiles_with_its_gradient():
    x = floats(5, 7).requires_grad_()
    compiled = torch.compile(lambda x: straight_through_sign(x, 1.0) * 3, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    assert torch.equal(x.grad, 3 * (x.detach().abs() <= 1).float())


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        pack_signs(torch.tensor([[float("nan")]]))
    with pytest.raises(TypeError, match="signed"):
        pack_signs(torch.ones(2, 2, dtype=torch.bool))
    codes = pack_signs(floats(4, 16))
    with pytest.raises(ValueError, match="n_bits=9"):
        hamming_topk(codes, codes, 1, n_bits=9)
    with pytest.raises(ValueError, match="query_ids"):
        hamming_topk(codes, codes, 1, query_ids=torch.tensor([0, 1, 2, 4]))
