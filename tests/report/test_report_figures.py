"""Figures: equal input gives equal bytes, odd input draws without a warning (warnings are errors), nothing overlaps."""

import itertools

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.text import Text

from distillbias.analysis.ellipses import Ellipse
from distillbias.report import figures as f
from distillbias.report.published import ARMS

RANDOM = np.random.default_rng(0)
SETS = ("MNIST", "MNIST-C scaled", "MNIST-C translated")
STAGES = [0, 1, 2, 5, 17, 400]
LAMBDA = np.linspace(0, 1, 5)


def scores(trials=4):
    return {title: {arm: list(RANDOM.uniform(0.4, 1, trials)) for arm in ARMS} for title in SETS}


def rows(trials=3, length=6):
    return RANDOM.uniform(0.1, 1, (trials, length))


def path(stages=6):
    return f.TrainingPath(STAGES[:stages], np.cumsum(RANDOM.normal(size=(stages, 2)), axis=0))


def barrier(trials=3):
    both = {f.REFRESHED: rows(trials, 5), f.INTERPOLATED: rows(trials, 5)}
    return f.Barrier("MLP", LAMBDA, both, {name: list(RANDOM.uniform(0, 1, trials)) for name in both})


def venn(*counts, lines=("Jaccard 0.186 (by chance 0.029)",)):
    return f.Venn("(a)", ("CNN #1", "CNN #2", "MLP"), counts, lines)


def reliability(empty=False):
    counts = np.zeros(10) if empty else np.arange(10)
    accuracy = np.where(counts > 0, np.linspace(0, 1, 10), np.nan)
    return f.Reliability(accuracy, accuracy, counts)


factors = {(factor, penalty): [0.5, 0.6, 0.55] for factor in ("tau2", "one", "inv_tau2") for penalty in (True, False)}
FIGURES = {
    "points": lambda: f.draw_points(scores(), {"MNIST": {"CNN": 0.992}}),
    "points, one trial": lambda: f.draw_points(scores(1)),
    "points, an integer": lambda: f.draw_points({"MNIST": {"CNN": [1, 1]}}),
    "points, missing arm": lambda: f.draw_points({"a": {"CNN": [0.9], "MLP": []}, "b": {"MLP": [0.2]}}),
    "points, unknown arm": lambda: f.draw_points({"a": {"ViT → MLP": [0.9, 0.8]}}),
    "points, none": lambda: f.draw_points({}),
    "severity": lambda: f.draw_severity(
        {"scale": {"CNN": rows(), "MLP": rows()}, "translate": {"CNN": rows(1)}}, {"scale": {"CNN": 0.96}}
    ),
    "severity, missing arm": lambda: f.draw_severity({"scale": {"CNN": [], "MLP": rows()}}),
    "map": lambda: f.draw_map({"scaled": f.PointMap(ARMS, RANDOM.normal(size=(6, 2)), 0.1)}),
    "map, ellipses": lambda: f.draw_map(
        {"scaled": f.PointMap(ARMS, RANDOM.normal(size=(6, 2)), 0.1, [Ellipse((0.0, 0.0), (0.4, 0.1), 0.7)] * 6)}
    ),
    "map, coinciding": lambda: f.draw_map({"a": f.PointMap(["CNN", "MLP"], np.zeros((2, 2)), 0.0)}),
    "map, empty": lambda: f.draw_map({"a": f.PointMap([], np.empty((0, 2)), 0.0)}),
    "paths": lambda: f.draw_paths({"MLP": [path(), path()], "CNN": [path()], "CNN → MLP": [path()]}, 0.05),
    "paths, one stage and none": lambda: f.draw_paths({"MLP": [path(1)], "CNN": []}),
    "path distance": lambda: f.draw_path_distance(
        {"student": rows(), "independent": rows(1)}, STAGES, {"student": "CNN → MLP", "independent": "MLP"}
    ),
    "path distance, none": lambda: f.draw_path_distance({"student": []}, STAGES, {"student": "CNN → MLP"}),
    "barriers": lambda: f.draw_barriers({"MLP": barrier(), "CNN": barrier(1)}),
    "triangle": lambda: f.draw_barrier_triangle({("Data", "Data"): barrier(), ("CNN", "MLP"): barrier()}),
    "venn": lambda: f.draw_venn([venn(21, 16, 15, 5940, 61, 67, 86), venn(740, 560, 1246, 167, 36, 40, 143)]),
    "venn, no errors": lambda: f.draw_venn([venn(0, 0, 0, 0, 0, 0, 0), venn(3, 0, 0, 0, 0, 0, 0)]),
    "venn, all empty": lambda: f.draw_venn([venn(0, 0, 0, 0, 0, 0, 0)]),
    "venn, equal sets": lambda: f.draw_venn([venn(0, 0, 0, 0, 0, 0, 9), venn(5, 5, 0, 5, 0, 0, 0)]),
    "venn, pairs only": lambda: f.draw_venn([venn(0, 0, 3, 0, 4, 5, 0), venn(9, 0, 0, 0, 0, 0, 1)]),
    "overlap": lambda: f.draw_overlap_bars({"scaled": [f.Overlap("a, b", [0.1, 0.2], [0.01, 0.02])], "other": []}),
    "overlap, none": lambda: f.draw_overlap_bars({"scaled": []}),
    "overlap, zero": lambda: f.draw_overlap_bars({"scaled": [f.Overlap("a, b", [0.0], [0.0])]}),
    "factors": lambda: f.draw_factors({"scaled": factors}, {"scaled": {"MLP": 0.4, "CNN": 0.9}}),
    "factors, missing": lambda: f.draw_factors({"scaled": {("one", True): []}}, {}),
    "training": lambda: f.draw_training({"labels": {"CNN": rows()}, "teacher": {"CNN → MLP": rows(1)}}),
    "training, unequal lengths": lambda: f.draw_training({"labels": {"CNN": [[1.0, 0.5], [1.0]], "MLP": []}}),
    "reliability": lambda: f.draw_reliability(
        {title: {arm: reliability() for arm in ARMS} for title in SETS} | {"empty": {"CNN": reliability(empty=True)}}
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_draws_without_warnings_and_leaves_no_global_trace(name):
    before = dict(rcParams)
    FIGURES[name]().draw_without_rendering()
    assert dict(rcParams) == before


def test_equal_input_gives_equal_bytes(tmp_path):
    data = scores()
    first = f.save(f.draw_points(data), tmp_path / "one", "points")
    second = f.save(f.draw_points(data), tmp_path / "two", "points")
    assert first.png == second.png == first.png_path.read_bytes()
    assert first.pdf_path.read_bytes() == second.pdf_path.read_bytes()
    assert b"CreationDate" not in first.pdf_path.read_bytes()


def overlaps(boxes):
    return [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_nothing_overlaps_in_the_headline_figure():
    figure = f.draw_points(scores(), {title: dict.fromkeys(ARMS, 0.9) for title in SETS})
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    boxes = [legend]
    for panel in figure.axes:
        left, right = panel.get_xlim()
        ticks = [label for label in panel.get_xticklabels() if left <= label.get_position()[0] <= right]
        names = panel.get_yticklabels() if panel is figure.axes[0] else []  # shared: named once
        boxes += [text.get_window_extent() for text in [*ticks, *names, panel.title, panel.xaxis.label]]
        assert not legend.overlaps(panel.get_tightbbox())
    assert len(boxes) >= 1 + 6 + 3 * (1 + 1 + 2)
    assert not overlaps(boxes)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_every_count_of_a_venn_is_written_once_and_apart():
    counts = (21, 16, 15, 5940, 61, 67, 86)
    figure = f.draw_venn([venn(*counts)])
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    assert sorted(text.get_text() for text in texts) == sorted(f"{count:,}" for count in counts)
    boxes = [Text.get_window_extent(text) for text in texts]  # without the leading line
    assert not overlaps(boxes)


def test_a_region_that_circles_cannot_avoid_says_zero():
    figure = f.draw_venn([venn(0, 0, 3, 0, 4, 5, 0), venn(0, 0, 0, 0, 0, 0, 9)])
    written = [[text.get_text() for text in panel.texts if text.get_text()] for panel in figure.axes]
    # circles that meet in pairs also have parts of their own and a middle: four regions without any error
    assert sorted(written[0]) == ["0", "0", "0", "0", "3", "4", "5"]
    assert written[1] == ["9"]


def test_venn_sizes_are_sums_of_exclusive_counts():
    assert venn(109, 69, 98, 1919, 55, 67, 124).sizes == (386, 358, 2165)


def test_points_are_where_the_values_are():
    figure = f.draw_points({"MNIST": {"CNN": [0.9, 0.7]}}, {"MNIST": {"CNN": 0.5}})
    drawn = [list(line.get_xdata()) for line in figure.axes[0].lines]
    assert drawn == [[0.9, 0.7], [pytest.approx(0.8)], [0.5]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.800"]


def test_looks_are_distinct_and_stable():
    assert len({f.look(arm) for arm in ARMS}) == 6
    assert f.look("ViT → MLP") == f.look("ViT → MLP")


def test_no_ellipse_of_a_map_is_cut() -> None:
    shape = Ellipse((0.0, 0.0), (3.0, 0.5), 0.3)
    figure = f.draw_map({"a": f.PointMap(["CNN", "MLP"], np.array([[0.0, 0.0], [1.0, 0.0]]), 0.1, [shape, shape])})
    panel = figure.axes[0]
    for patch in panel.patches:
        inside = panel.transData.inverted().transform(patch.get_window_extent())
        (left, low), (right, high) = inside
        assert panel.get_xlim()[0] < left and right < panel.get_xlim()[1]
        assert panel.get_ylim()[0] < low and high < panel.get_ylim()[1]
