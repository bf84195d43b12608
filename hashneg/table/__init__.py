"""The codes of a whole training set, kept fresh while the model learns."""

from hashneg.table.code_table import CodeTable
from hashneg.table.drift import Drift

__all__ = ["CodeTable", "Drift"]
