"""The command line."""

from distillbias.cli.main import app, main

__all__ = ["app", "main"]
