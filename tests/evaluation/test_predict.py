"""Predictions are the model's own answers in evaluation mode: every row, in order, whatever the batches."""

import numpy as np
import pytest
import torch
from tests import tiny

from distillbias.evaluation.predict import predict, sample_rows
from distillbias.models.lstm import LSTMConfig
from distillbias.models.output import initialise
from distillbias.tasks.task import Examples, Spec

EXAMPLES = tiny.examples(23)


def by_hand(rows=slice(None)):
    model = tiny.mlp().eval()
    with torch.no_grad():
        return model(torch.as_tensor(EXAMPLES.inputs[rows]).float() / 255)


def test_predictions_are_the_models_answers() -> None:
    logits, hidden = predict(tiny.mlp(), EXAMPLES)
    assert torch.equal(torch.as_tensor(logits), by_hand().logits)
    assert torch.equal(torch.as_tensor(hidden), by_hand().hidden["penultimate"])
    assert logits.dtype == hidden.dtype == np.float32


@pytest.mark.parametrize("batch", [1, 5, 22, 23, 500])
def test_no_row_is_dropped_whatever_the_batch(batch: int) -> None:
    logits, hidden = predict(tiny.mlp(), EXAMPLES, batch=batch)
    np.testing.assert_allclose(logits, by_hand().logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(hidden, by_hand().hidden["penultimate"], rtol=1e-5, atol=1e-6)


def test_chosen_rows_come_in_their_order() -> None:
    rows = np.array([22, 0, 7, 7])
    logits, _ = predict(tiny.mlp(), EXAMPLES, rows)
    np.testing.assert_allclose(logits, by_hand(rows).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_and_nothing_else_changes(training: bool) -> None:
    model = tiny.mlp(dropout=0.5).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, _ = predict(model, EXAMPLES)
    assert model.training is training and model.hidden[0][3].training is training
    assert np.array_equal(predict(model, EXAMPLES)[0], first)  # no dropout
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_mode_is_restored_after_an_error() -> None:
    model = tiny.mlp().train()
    with pytest.raises(IndexError):
        predict(model, EXAMPLES, np.array([23]))
    assert model.training


def test_the_sample_is_fixed_sorted_and_without_repeats() -> None:
    rows = sample_rows(EXAMPLES, 10, 0)
    assert len(rows) == 10 and (np.diff(rows) > 0).all() and set(rows.tolist()) <= set(range(23))
    assert np.array_equal(rows, sample_rows(tiny.examples(23, seed=5), 10, 0))  # whatever the content
    assert not np.array_equal(rows, sample_rows(EXAMPLES, 10, 1))
    assert np.array_equal(sample_rows(EXAMPLES, 1000, 0), np.arange(23))


def test_sentences_are_answered_in_their_order() -> None:
    random = np.random.default_rng(0)
    inputs = np.zeros((30, 11), np.int32)
    for row, length in enumerate(random.integers(1, 12, 30)):
        inputs[row, :length] = random.integers(1, 20, length)
    made = Examples(inputs, np.zeros(30, np.int64), np.arange(30), "noise", "none")
    model = LSTMConfig(width=8).build(Spec((), 2, 20))
    initialise(model, torch.Generator().manual_seed(0))
    logits, hidden = predict(model, made, batch=7)
    for row, words in enumerate(inputs):
        alone = model.eval()(torch.as_tensor(words[words != 0]).long()[None])
        np.testing.assert_allclose(logits[row], alone.logits[0].detach(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(hidden[row], alone.hidden["penultimate"][0].detach(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(predict(model, made, np.array([3, 1]))[0], logits[[3, 1]], rtol=1e-4, atol=1e-6)
