"""The small study on a Ray cluster, as a command: python -m tests.cluster.small STORE ADDRESS

Exit status 0 done, 1 failures or an error, 130 stopped.
"""

import sys

from tests.faults import small

from distillbias.errors import InputError
from distillbias.studies.ray_cluster import RayCluster
from distillbias.studies.runner import run_study
from distillbias.studies.store import open_store
from distillbias.studies.worker import Place


def main() -> int:
    store, study = open_store(sys.argv[1]), small.study()
    executor = RayCluster(Place(store.where, None, every=small.EVERY), study.runs, sys.argv[2])
    try:
        return 1 if run_study(study, store, None, watch=small.say, executor=executor) else 0
    except InputError as error:
        print(f"error: {error}", flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
