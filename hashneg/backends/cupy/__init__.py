"""The fast GPU backend: CUDA C++ kernels in .cu files beside this one, driven through CuPy.

`device` is the one module that imports CuPy; it compiles kernels when they are first needed, launches them and
allocates memory. `layout` brings codes into the form that the scans read, `search` cuts a search into rounds,
`projection`, `distances` and `similarity` hold the other operations.
"""
