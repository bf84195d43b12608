"""Results come back in the caller's framework, on the caller's device."""

import numpy as np
import pytest
from helpers import layouts
from helpers.foreign import DLPackArray
from helpers.requirements import need

import hashneg as hn
from hashneg import arrays


def test_every_public_result_has_the_framework_of_its_input(framework, backend):
    x = framework.array(layouts.matrix())
    quantizer = hn.BinaryQuantizer(20).fit(x)
    codes = quantizer.encode(x)
    results = [
        codes.data, codes[2:5].data, codes[-1].data, codes[np.array([3, 1])].data, codes.to_packbits(),
        codes.to_packbits("big"), codes.to_signs(), quantizer.project(x), hn.Codes.from_signs(x).data,
        hn.Codes.from_packbits(codes.to_packbits("big"), 20, bitorder="big").data,
        quantizer.fit_encode(x).data, hn.hamming_distances(codes, codes),
    ]  # fmt: skip
    assert all(framework.owns(result) for result in results)


def test_results_mean_the_same_in_every_framework(framework, backend):
    plain = layouts.matrix()
    x = framework.array(plain)
    quantizer = hn.BinaryQuantizer(20).fit(plain)
    expected, got = quantizer.encode(plain), quantizer.encode(x)
    np.testing.assert_array_equal(framework.to_numpy(got.data), expected.data)
    np.testing.assert_array_equal(framework.to_numpy(got.to_signs()), expected.to_signs())
    np.testing.assert_array_equal(framework.to_numpy(quantizer.project(x)), quantizer.project(plain))
    assert hn.BinaryQuantizer(20).fit(x).fingerprint == quantizer.fingerprint


def test_results_of_torch_are_writable_and_not_the_callers_memory():
    torch = need("torch")
    data = torch.zeros(4, 2, dtype=torch.uint8)
    codes = hn.Codes(data, 16)
    out = codes.to_packbits()
    out += 1
    assert not data.any()


def test_results_from_a_read_only_source_do_not_make_torch_warn():
    export = arrays.exporter(need("torch").zeros(1))
    source = np.zeros((2, 3), np.uint8)
    source.flags.writeable = False
    out = export(source)
    out += 1
    assert not source.any()
    assert export(np.zeros((3, 2), np.int64).T).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_torch_autograd_is_left_at_the_boundary():
    torch = need("torch")
    x = torch.from_numpy(layouts.matrix()).requires_grad_()
    z = hn.BinaryQuantizer(20).fit(x).project(x)
    assert not z.requires_grad


def test_jax_without_x64_gets_int32_and_overflow_raises_instead_of_wrapping():
    jax = need("jax")
    assert not jax.config.jax_enable_x64
    export = arrays.exporter(jax.numpy.zeros(1))
    ids = export(np.array([-1, 2**31 - 1]))
    assert ids.dtype == np.int32
    assert ids.tolist() == [-1, 2**31 - 1]
    with pytest.raises(ValueError, match="does not fit JAX's int32; set jax_enable_x64"):
        export(np.array([2**31]))
    codes = jax.numpy.zeros((3, 1), np.uint8)
    with pytest.raises(ValueError, match="set jax_enable_x64"):
        hn.hamming_topk(codes, codes, 3, offset=2**31 - 1)


def test_jax_with_x64_keeps_int64_and_float64():
    jax = need("jax")
    jax.config.update("jax_enable_x64", True)
    try:
        export = arrays.exporter(jax.numpy.zeros(1))
        assert export(np.array([2**40])).dtype == np.int64
        x = jax.numpy.asarray(layouts.matrix(), dtype="float64")
        assert hn.BinaryQuantizer(20).fit(x).project(x).dtype == np.float64
    finally:
        jax.config.update("jax_enable_x64", False)


def test_tensorflow_variables_give_tensors_on_their_device():
    tf = need("tensorflow")
    x = tf.Variable(layouts.matrix())
    data = hn.BinaryQuantizer(20).fit(x).encode(x).data
    assert isinstance(data, tf.Tensor)
    assert data.device == x.device


def test_objects_that_only_export_give_numpy():
    x = DLPackArray(layouts.matrix())
    assert type(hn.BinaryQuantizer(20).fit(x).encode(x).data) is np.ndarray


def test_framework_names():
    assert arrays.framework_of(np.zeros(1)) == "numpy"
    assert arrays.framework_of(need("torch").zeros(1)) == "torch"
    assert arrays.framework_of(need("jax.numpy").zeros(1)) == "jax"
    assert arrays.framework_of(DLPackArray(np.zeros(1))) == "dlpack"
    assert arrays.framework_of(DLPackArray) is None
    assert arrays.framework_of([1.0]) is None


def test_subclasses_of_arrays_are_seen_as_their_framework():
    torch = need("torch")

    class Named(torch.Tensor):
        pass

    assert arrays.framework_of(torch.zeros(2).as_subclass(Named)) == "torch"
    assert arrays.framework_of(np.zeros(2).view(np.recarray)) == "numpy"
