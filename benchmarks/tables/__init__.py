"""The tables of `python -m benchmarks`, a module each."""
