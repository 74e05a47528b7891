"""A command of its own on a store at a URL, with beats so short that tests need not wait.

python -m tests.faults.far URL      begin to train there, say so, and go on until it is killed
"""

import sys
import time

from distillbias.errors import InputError
from distillbias.studies import claim, objects
from distillbias.studies.store import open_store

BEAT = 0.1


def hurry() -> None:
    claim.BEAT, objects.PAUSES = BEAT, (0.05, 0.05)


def main() -> int:
    hurry()
    try:
        with open_store(sys.argv[1]).alone():
            print("alone", flush=True)
            time.sleep(600)
    except InputError as error:
        print(f"error: {error}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
