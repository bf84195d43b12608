"""Benchmarks: each module is a program, ``python -m benchmarks.NAME``, that prints a table."""
