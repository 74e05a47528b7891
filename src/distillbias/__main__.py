"""`python -m distillbias` is `distillbias`."""

from distillbias.cli import main

main()
