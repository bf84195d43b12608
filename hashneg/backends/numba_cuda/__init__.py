"""The readable GPU backend: Numba kernels of a few lines each, which also run in the CUDA simulator.

A kernel uses `jit`, `grid`, `syncthreads` and `popc` and nothing else of CUDA. `device` is the one module that
imports `cuda`; it launches kernels, allocates memory and takes arrays in. `masks` says who may be returned,
`kernels` holds what is done with codes, and `search`, `projection`, `distances` and `similarity` the operations.
"""
