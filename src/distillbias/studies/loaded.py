"""All that a worker needs, for the process that workers are forked from; and what code it is, read as it is loaded:
its files may change while they train."""

import torch  # noqa: F401

from distillbias.studies import execute, shared  # noqa: F401
from distillbias.studies.provenance import commit

commit()
