"""The command line with two tiny studies and no report, for torchrun to start:

python -m torch.distributed.run --nproc-per-node 2 -m tests.studies.launched run vision --store STORE
"""

from dataclasses import replace

from tests import tiny

from distillbias.cli import main, train
from distillbias.studies import catalogue
from distillbias.studies.study import Study

TEACHER = replace(tiny.ALONE, recipe=replace(tiny.RECIPE, epochs=2))
STUDENT = replace(TEACHER, distillation=replace(tiny.STUDENT.distillation, teacher=TEACHER))
LONG = replace(TEACHER, recipe=replace(tiny.RECIPE, epochs=10_000))  # hours


def entry(title: str, **arms: tuple) -> catalogue.Entry:
    return catalogue.Entry("?", lambda scale, trials, epochs: Study(title, "tiny", "?", arms))


if __name__ == "__main__":
    catalogue.STUDIES["vision"] = entry("vision", teacher=(TEACHER,), student=(STUDENT,))
    catalogue.STUDIES["dial-vision"] = entry("dial-vision", long=(LONG,))
    train.report = lambda *given: print("the report")
    main()
