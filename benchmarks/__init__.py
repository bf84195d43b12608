"""Benchmarks: ``python -m benchmarks NAME`` measures, prints a table and writes CSV, Markdown and PNG."""
