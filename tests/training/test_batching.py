"""Which example is seen when, and that what belongs together stays together."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from tests import tiny

from distillbias.tasks.task import Examples
from distillbias.training import batching
from distillbias.training.batching import ResidentData, to_float
from distillbias.training.seeds import stream

N, BATCH = 40, 12


def order(trial: int = 0, repeat: int = 0):
    return lambda epoch: stream("order", "digits", trial, repeat, epoch)


def row_of(rows: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    return rows[:, None].float()


def visited(epochs: int, trial: int = 0, repeat: int = 0) -> list[list[int]]:
    """Rows by epoch, in order."""
    data = ResidentData(tiny.examples(N))
    rows = [batch.signal[:, 0].int().tolist() for batch in data.batches(epochs, BATCH, order(trial, repeat), row_of)]
    assert len(rows) == epochs * (N // BATCH) and all(len(part) == BATCH for part in rows)
    parts = N // BATCH
    return [sum(rows[epoch * parts : (epoch + 1) * parts], []) for epoch in range(epochs)]


def test_an_epoch_visits_each_row_at_most_once() -> None:
    for epoch in visited(5):
        assert len(set(epoch)) == len(epoch) == N // BATCH * BATCH


def test_what_an_epoch_leaves_out_differs_from_epoch_to_epoch() -> None:
    left_out = Counter(row for epoch in visited(30) for row in set(range(N)) - set(epoch))
    assert len({frozenset(epoch) for epoch in visited(5)}) == 5
    assert set(left_out) == set(range(N))  # 30 epochs leave 120 out: nobody is always in


def test_an_epochs_order_does_not_depend_on_how_many_follow() -> None:
    assert visited(5)[:2] == visited(2)


def test_epochs_trials_and_repeats_have_orders_of_their_own() -> None:
    orders = [*visited(3), visited(1, trial=1)[0], visited(1, repeat=1)[0], visited(1, 1, 1)[0]]
    assert all(first != other for first, other in combinations(orders, 2))


def test_same_seeds_are_equal_in_every_bit() -> None:
    data = ResidentData(tiny.examples(N))
    twice = zip(data.batches(2, BATCH, order()), data.batches(2, BATCH, order()), strict=True)
    for first, again in twice:
        assert torch.equal(first.inputs, again.inputs) and torch.equal(first.labels, again.labels)
        assert first.signal is None


def test_signal_inputs_and_labels_are_of_the_same_examples() -> None:
    made = tiny.examples(N)
    for batch in ResidentData(made).batches(2, BATCH, order(), row_of):
        rows = batch.signal[:, 0].long()
        assert torch.equal(batch.inputs, torch.as_tensor(made.inputs)[rows].float() / 255)
        assert torch.equal(batch.labels, torch.as_tensor(made.labels)[rows])


def test_a_live_signal_sees_the_inputs_of_its_batch() -> None:
    for batch in ResidentData(tiny.examples(N)).batches(1, BATCH, order(), lambda rows, inputs: inputs.flatten(1)):
        assert torch.equal(batch.signal, batch.inputs.flatten(1))


def test_pixels_become_numbers_from_zero_to_one() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert to_float(pixels).flatten().tolist() == pytest.approx([value / 255 for value in range(256)])
    assert to_float(pixels).min() == 0 and to_float(pixels).max() == 1
    assert pixels.max() == 255  # the resident bytes stay as they are


def test_a_batch_larger_than_the_data_gives_none() -> None:
    assert list(ResidentData(tiny.examples(5)).batches(3, 6, order())) == []


def sentences(count: int = 100, seed: int = 0) -> Examples:
    """Rows of 1 to 12 words; the first word of a row is its number + 1."""
    random = np.random.default_rng(seed)
    inputs = np.zeros((count, 12), np.int32)
    for row, length in enumerate(random.integers(1, 13, count)):
        inputs[row, :length] = random.integers(1, 50, length)
    inputs[:, 0] = np.arange(count) + 1
    return Examples(inputs, random.integers(0, 2, count), np.arange(count), "noise", "none")


def test_words_are_cut_to_the_longest_of_their_batch() -> None:
    made = sentences()
    for batch in ResidentData(made).batches(2, BATCH, order()):
        rows = batch.inputs[:, 0] - 1
        assert torch.equal(batch.inputs, torch.as_tensor(made.inputs)[rows, : batch.inputs.shape[1]].long())
        assert (batch.inputs[:, -1] != 0).any() and torch.equal(batch.labels, torch.as_tensor(made.labels)[rows])


def test_buckets_visit_each_row_once_and_waste_little() -> None:
    data = ResidentData(sentences(1000))
    for epoch in range(2):
        batches = [batch.inputs for batch in data.batches(1, BATCH, lambda _, e=epoch: stream("order", e))]
        rows = [int(row) for inputs in batches for row in inputs[:, 0] - 1]
        assert len(set(rows)) == len(rows) == 1000 // BATCH * BATCH
        words, places = sum(int((b != 0).sum()) for b in batches), sum(b.numel() for b in batches)
        assert words / places > 0.9  # unsorted rows of 1 to 12 words fill 55 %


def test_batches_of_like_length_come_in_no_order_of_length() -> None:
    lengths = [batch.inputs.shape[1] for batch in ResidentData(sentences(1000)).batches(1, BATCH, order())]
    assert sorted(lengths) != lengths and abs(np.corrcoef(np.arange(len(lengths)), lengths)[0, 1]) < 0.4


@pytest.mark.parametrize("most", [1, 30, 100, 10_000])
def test_long_rows_are_evaluated_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(batching, "CPU_WORDS", most)
    data = ResidentData(sentences(200))
    rows = torch.arange(0, 200, 2)
    parts = list(data.by_length(rows, 15))
    assert sorted(torch.cat(parts).tolist()) == list(range(len(rows)))
    lengths = data.lengths[rows[torch.cat(parts)]].tolist()
    assert lengths == sorted(lengths)
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        longest = int(data.lengths[rows[part]].max())
        assert len(part) <= 15 and (len(part) == 1 or len(part) * longest <= most)
        if following is not None and len(part) < 15:  # one more would have been too much
            assert (len(part) + 1) * int(data.lengths[rows[following[0]]]) > most


def test_images_are_evaluated_in_order() -> None:
    parts = list(ResidentData(tiny.examples(N)).by_length(torch.arange(5, 30), 10))
    assert [len(part) for part in parts] == [10, 10, 5] and torch.cat(parts).tolist() == list(range(25))
