"""Sorting that can be differentiated: permutation matrices with soft entries.

Every function takes scores (..., n) and returns matrices (..., n, n) whose row i says which item has rank i, rank 0
being the largest score: ``P @ values`` are the values in order. With ``m`` only the first m rows are built.
"""

from hashneg.sorting.gather import sorted_gather
from hashneg.sorting.networks import sorting_network
from hashneg.sorting.neuralsort import neuralsort
from hashneg.sorting.softsort import softsort

__all__ = ["neuralsort", "softsort", "sorted_gather", "sorting_network"]
