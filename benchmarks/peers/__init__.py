"""Whole training work of distillbias beside that of other tools, as their documentation shows them.

Start with `docs/benchmarks.md`. `python -m benchmarks.peers --minute` runs a small comparison.
"""
