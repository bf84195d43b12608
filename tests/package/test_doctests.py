"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import inspect
import pkgutil

import pytest
from helpers.requirements import missing

import hashneg as hn

MODULES = sorted(module.name for module in pkgutil.walk_packages(hn.__path__, "hashneg."))


@pytest.mark.parametrize("name", ["hashneg", *MODULES])
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0


def test_every_public_function_has_an_example():
    for name in hn.__all__:
        value = getattr(hn, name)
        if inspect.isfunction(value) or name in {"Codes", "BinaryQuantizer", "HammingIndex"}:
            assert ">>>" in inspect.getdoc(value), name


def test_modules_were_found():
    assert {"hashneg.codes", "hashneg.hamming.search", "hashneg.quantize.quantizer", "hashneg.cli"} <= set(MODULES)
