import numpy as np
from sklearn.datasets import load_digits

from distillbias.data import digits
from distillbias.data.images import fingerprint


def test_sizes_classes_and_no_example_twice():
    train, test = digits.load()
    assert (len(train.labels), len(test.labels)) == (1297, 500)
    whole = np.bincount(load_digits().target)
    np.testing.assert_array_less(abs(np.bincount(test.labels) - whole * 500 / 1797), 1.0001)
    np.testing.assert_array_equal(np.bincount(train.labels) + np.bincount(test.labels), whole)
    everything = np.concatenate([train.pixels, test.pixels]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == len(np.unique(load_digits().data, axis=0))


def test_the_same_every_time():
    first, again = digits.load(), digits.load()
    assert [fingerprint(part) for part in first] == [fingerprint(part) for part in again]


def test_ink_lies_in_the_box_in_the_middle_and_reaches_full_black():
    pixels = digits.load()[0].pixels
    frame = pixels.copy()
    frame[:, 4:24, 4:24] = 0
    assert frame.max() == 0 and pixels.max() == 255
    centre = (pixels.sum(0).sum(0) * np.arange(28)).sum() / pixels.sum()
    assert abs(centre - 13.5) < 1


def test_a_constant_image_stays_constant_inside_and_a_mirrored_one_is_mirrored():
    full = digits.on_canvas(np.full((1, 8, 8), 16.0))
    assert (full[:, 5:23, 5:23] == 255).all()
    small = load_digits().images[:50]
    mirrored = digits.on_canvas(small[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(mirrored.astype(int), digits.on_canvas(small), atol=1)  # halves round either way


def test_a_mean_over_the_blocks_gives_the_small_digit_back():
    """Enlarged by 2.5 and averaged again, a digit is itself but for the smoothing: closest to itself, of 1,797."""
    small = load_digits().images
    inner = digits.on_canvas(small)[:200, 4:24, 4:24].astype(float)
    back = inner.repeat(2, 1).repeat(2, 2).reshape(200, 8, 5, 8, 5).mean((2, 4)).reshape(200, -1) / 255 * 16
    distance = ((back[:, None] - small.reshape(1797, -1)[None, :200]) ** 2).sum(-1)
    assert (distance.argmin(1) == np.arange(200)).all()


def test_they_are_those_of_scikit_learn_with_and_without_its_file(monkeypatch):
    for found in (digits.find_spec, lambda name: None):
        monkeypatch.setattr(digits, "find_spec", found)
        images, labels = digits.read()
        np.testing.assert_array_equal(images, load_digits().images)
        np.testing.assert_array_equal(labels, load_digits().target)
