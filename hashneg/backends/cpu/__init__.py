"""The fast CPU backend: Numba kernels that release the GIL, driven by a pool over tiles.

`vectors` holds what Numba lacks, written as LLVM IR; `layout` the bit-sliced database; `selection` who may
be returned and who is among the k best; `search` drives them.
"""
