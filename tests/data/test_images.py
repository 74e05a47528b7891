import subprocess
import sys

import numpy as np
import pytest

from distillbias.data.images import checked, fingerprint
from distillbias.errors import InputError

PIXELS = np.zeros((3, 28, 28), np.uint8)
LABELS = np.array([0, 9, 5], np.uint8)


def test_labels_become_int64_and_nothing_else_changes():
    images = checked(PIXELS, LABELS, "made up")
    assert images.labels.dtype == np.int64 and images.labels.tolist() == [0, 9, 5]
    assert images.pixels is PIXELS and images.origin == "made up"


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS.astype(np.float32), LABELS, "pixels are float32; the rule is uint8"),
        (PIXELS[0], LABELS, r"shape \[28, 28\]"),
        (PIXELS[:, :27], LABELS, r"shape \[3, 27, 28\]; the rule is \[n, 28, 28\]"),
        (PIXELS[:0], LABELS[:0], "0 images"),
        (PIXELS, LABELS[:2], "3 images but 2 labels"),
        (PIXELS, LABELS.astype(float), "labels are float64"),
        (PIXELS, LABELS[:, None], r"labels are uint8 \[3, 1\]"),
        (PIXELS, np.array([0, 10, 5]), "label 10 at position 1; the choices are 0..9"),
        (PIXELS, np.array([0, 1, -1]), "label -1 at position 2"),
    ],
)
def test_wrong_arrays_are_refused_in_one_line(pixels, labels, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(pixels, labels, "made up")
    assert "\n" not in str(caught.value)


def test_fingerprint_sees_each_pixel_and_label_but_not_the_origin_or_layout():
    first = fingerprint(checked(PIXELS, LABELS, "a"))
    assert len(first) == 16
    assert first == fingerprint(checked(np.asfortranarray(PIXELS), LABELS.astype(int), "b"))
    touched = PIXELS.copy()
    touched[2, 27, 27] = 1
    others = {fingerprint(checked(touched, LABELS, "a")), fingerprint(checked(PIXELS, LABELS[::-1], "a"))}
    assert len(others | {first}) == 3


def test_importing_the_cache_is_cheap():
    code = (
        "import sys, distillbias.data.cache, distillbias.data.digits; "
        "sys.exit(bool({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
