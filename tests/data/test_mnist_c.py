import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.transform import AffineTransform, warp

from distillbias.data import mnist, mnist_c
from distillbias.data.images import checked
from distillbias.errors import InputError

severities = st.sampled_from(mnist_c.SEVERITIES)


def reference_warp(image: np.ndarray, transform: AffineTransform) -> np.ndarray:
    """As MNIST-C does it: float64 / 255, inverse map, all else at its default, clip, times 255."""
    return np.rint(np.clip(warp(image / 255.0, transform), 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("severity", mnist_c.SEVERITIES)
def test_scale_equals_scikit_image(digit_pixels, severity):
    factor = 1 / (1 - severity / 10)
    shift = 13.5 * (1 - factor)
    inverse = AffineTransform(scale=(factor, factor), translation=(shift, shift))
    expected = np.stack([reference_warp(image, inverse) for image in digit_pixels[:40]])
    np.testing.assert_allclose(mnist_c.scale(digit_pixels[:40], severity), expected, atol=1)  # exact halves may differ
    assert (mnist_c.scale(digit_pixels[:40], severity) != expected).mean() < 1e-3


@pytest.mark.parametrize("severity", mnist_c.SEVERITIES)
def test_translate_equals_scikit_image(digit_pixels, severity):
    signs = mnist_c.directions(40, "some seed")
    moved = mnist_c.translate(digit_pixels[:40], severity, "some seed")
    for image, sign, got in zip(digit_pixels[:40], signs, moved, strict=True):
        np.testing.assert_array_equal(got, reference_warp(image, AffineTransform(translation=tuple(sign * severity))))


def test_positive_dx_is_left_and_negative_dy_is_down(digit_pixels):
    expected = np.zeros_like(digit_pixels)
    expected[:, 3:, :-3] = digit_pixels[:, :-3, 3:]
    np.testing.assert_array_equal(mnist_c.shifted(digit_pixels, dx=3, dy=-3), expected)


def test_scale_of_a_full_square_shrinks_its_side():
    square = np.zeros((1, 28, 28), np.uint8)
    square[:, 4:24, 4:24] = 255  # side 20
    for severity in mnist_c.SEVERITIES:
        area = mnist_c.scale(square, severity).sum() / 255
        assert area**0.5 == pytest.approx(20 * (1 - severity / 10), rel=0.02)


@settings(max_examples=25)
@given(arrays(np.uint8, (3, 28, 28)), severities)
def test_scale_commutes_with_mirroring(pixels, severity):
    """The centre is the fixed point. One grey level: mirrored sums round differently."""
    mirrored = mnist_c.scale(pixels[:, ::-1, ::-1].copy(), severity)[:, ::-1, ::-1].astype(int)
    assert abs(mirrored - mnist_c.scale(pixels, severity)).max() <= 1


@settings(max_examples=25)
@given(arrays(np.uint8, (4, 18, 18)), severities, st.text(max_size=8))
def test_translate_keeps_all_ink_that_has_room_and_undoes_itself(inner, severity, seed):
    pixels = np.pad(inner, ((0, 0), (5, 5), (5, 5)))
    moved = mnist_c.translate(pixels, severity, seed)
    signs = (-severity * mnist_c.directions(4, seed)).tolist()
    back = [mnist_c.shifted(image[None], dx, dy) for image, (dx, dy) in zip(moved, signs, strict=True)]
    np.testing.assert_array_equal(np.concatenate(back), pixels)


@settings(max_examples=25)
@given(arrays(np.uint8, (4, 28, 28)), severities, st.text(max_size=8))
def test_translate_never_adds_ink(pixels, severity, seed):
    moved = mnist_c.translate(pixels, severity, seed)
    assert (moved.sum((1, 2), dtype=int) <= pixels.sum((1, 2), dtype=int)).all()


def test_directions_are_fair_and_independent():
    signs = mnist_c.directions(10_000, "mnist-c/translate/3")
    counts = np.unique(signs, axis=0, return_counts=True)[1]
    assert len(counts) == 4
    assert abs(counts - 2500).max() < 5 * (10_000 * 0.25 * 0.75) ** 0.5  # five standard deviations


@given(st.text(max_size=12), st.integers(1, 50), st.integers(1, 50))
def test_a_longer_draw_begins_with_the_shorter(seed, one, other):
    short, long = sorted((one, other))
    np.testing.assert_array_equal(mnist_c.directions(long, seed)[:short], mnist_c.directions(short, seed))


def test_seeds_matter_and_severities_share_the_directions(digit_pixels):
    assert (mnist_c.directions(100, "a") != mnist_c.directions(100, "b")).any()
    one, two = (mnist_c.translate(digit_pixels, severity, "a") for severity in (1, 2))
    dx, dy = mnist_c.directions(len(digit_pixels), "a")[0].tolist()
    np.testing.assert_array_equal(one[:1], mnist_c.shifted(digit_pixels[:1], dx, dy))
    np.testing.assert_array_equal(two[:1], mnist_c.shifted(digit_pixels[:1], 2 * dx, 2 * dy))


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_severity_message(digit_pixels, severity):
    for call in (lambda: mnist_c.scale(digit_pixels, severity), lambda: mnist_c.translate(digit_pixels, severity, "")):
        with pytest.raises(InputError, match=f"severity {severity}; the choices are 1, 2, 3, 4, 5"):
            call()


def test_wrong_pixels_are_refused(digit_pixels):
    with pytest.raises(InputError, match="scale: pixels are float64"):
        mnist_c.scale(digit_pixels / 255, 3)


def test_generated_images_say_so_and_keep_the_labels(digit_pixels, tmp_path):
    test = checked(digit_pixels, np.arange(500) % 10, "some digits")
    moved = mnist_c.corrupted(test, "translate", 3, tmp_path, "mnist-c/translate/3")
    assert moved.origin == "generated from some digits, translate severity 3, seed 'mnist-c/translate/3'"
    np.testing.assert_array_equal(moved.labels, test.labels)
    assert mnist_c.corrupted(test, "scale", 2, None, "").origin == "generated from some digits, scale severity 2"


def test_unknown_and_unmakeable_corruptions(digit_pixels, tmp_path):
    test = checked(digit_pixels, np.arange(500) % 10, "some digits")
    with pytest.raises(InputError, match="unknown corruption 'fogg'; the choices are brightness, "):
        mnist_c.corrupted(test, "fogg", 3, tmp_path, "")
    with pytest.raises(InputError, match="only scale, translate can be made here"):
        mnist_c.corrupted(test, "fog", 3, tmp_path, "")


@pytest.fixture
def home_with_arrays(source, tmp_path):
    """A home with stand-ins for the published arrays: every pixel 7, so that they are told from generated ones."""
    labels = mnist.read_idx((source / "t10k-labels-idx1-ubyte").read_bytes(), "labels")
    for corruption in ("scale", "fog"):
        folder = tmp_path / "home" / "mnist_c" / corruption
        folder.mkdir(parents=True)
        np.save(folder / "test_images.npy", np.full((10_000, 28, 28, 1), 7, np.uint8))
        np.save(folder / "test_labels.npy", labels.astype(np.int64))
    return tmp_path / "home"


def test_published_arrays_are_used_only_where_they_fit(home_with_arrays, source):
    test = mnist.load(source)[1]
    found = mnist_c.corrupted(test, "scale", 3, home_with_arrays, "")
    assert found.origin == "published MNIST-C arrays, scale" and (found.pixels == 7).all()
    assert found.pixels.shape == (10_000, 28, 28)
    assert mnist_c.corrupted(test, "fog", 3, home_with_arrays, "").origin.startswith("published")
    few = checked(test.pixels[:9], test.labels[:9], "nine of them")
    for base, corruption, severity, home in (
        (few, "scale", 3, home_with_arrays),  # another base
        (test, "scale", 2, home_with_arrays),  # another severity
        (test, "translate", 3, home_with_arrays),  # not on disk
        (test, "scale", 3, None),
    ):
        assert mnist_c.corrupted(base, corruption, severity, home, "").origin.startswith("generated")


def test_half_an_import_is_neither_used_nor_passed_over(home_with_arrays, source):
    (home_with_arrays / "mnist_c" / "scale" / "test_labels.npy").unlink()
    with pytest.raises(InputError, match="MNIST-C scale: only one of test_images.npy and test_labels.npy"):
        mnist_c.corrupted(mnist.load(source)[1], "scale", 3, home_with_arrays, "")
