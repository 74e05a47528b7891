"""A language model's answers: the state before the verb, one form against the other, perplexity of sentences."""

from dataclasses import replace
from math import exp

import numpy as np
import pytest
import torch
from tests import language

from distillbias.evaluation.perplexity import SentenceLosses, perplexities, sentence_losses
from distillbias.evaluation.predict import predict

EXAMPLES = language.examples(repeats=3)
EACH = pytest.mark.parametrize("name", language.MODELS)


def by_hand(name: str, row: int) -> tuple[np.ndarray, np.ndarray]:
    """[time, words] logits and [time, width] states of one sentence, alone."""
    words = torch.as_tensor(EXAMPLES.inputs[row])[None].long()
    with torch.no_grad():
        logits = language.model(name).eval()(words[:, : int((words != 0).sum())]).logits
        return (logits.states @ logits.matrix.T)[0].numpy(), logits.states[0].numpy()


@EACH
def test_answers_are_the_logits_of_both_forms_before_the_verb(name: str) -> None:
    logits, hidden = predict(language.model(name), EXAMPLES, batch=4)
    assert logits.shape == (18, 2) and hidden.shape == (18, 8) and logits.dtype == hidden.dtype == np.float32
    for row in range(len(EXAMPLES)):
        of_all, states = by_hand(name, row)
        position, singular, plural = (int(EXAMPLES.columns[c][row]) for c in ("position", "singular", "plural"))
        np.testing.assert_allclose(hidden[row], states[position], rtol=1e-5, atol=1e-6)
        if singular >= 0:
            np.testing.assert_allclose(logits[row], of_all[position, [singular, plural]], rtol=1e-4, atol=1e-5)
        else:
            probabilities = np.exp(of_all[position] - np.log(np.exp(of_all[position]).sum()))
            expected = np.log(probabilities[EXAMPLES.forms].sum(1))
            np.testing.assert_allclose(np.diff(logits[row]), np.diff(expected), rtol=1e-4, atol=1e-5)


def test_chosen_rows_come_in_their_order() -> None:
    rows = np.array([7, 0, 2, 2])
    for found, every in zip(
        predict(language.model(), EXAMPLES, rows), predict(language.model(), EXAMPLES), strict=True
    ):
        np.testing.assert_allclose(found, every[rows], rtol=1e-5, atol=1e-6)


def test_a_tie_is_wrong() -> None:
    same = EXAMPLES.columns | {"singular": EXAMPLES.columns["plural"]}
    logits, _ = predict(language.model(), replace(EXAMPLES, columns=same))
    known = same["singular"] >= 0
    assert (logits.argmax(1) != EXAMPLES.labels)[known].all()
    np.testing.assert_allclose(logits[known, 0], logits[known, 1], rtol=1e-6)


@EACH
def test_the_losses_of_whole_sentences(name: str) -> None:
    found = sentence_losses(language.model(name), EXAMPLES, batch=4)
    assert found.rows.tolist() == [row for row in range(18) if row % 6 != 2]  # that one stops before its verb
    for row, nll, tokens in zip(*found, strict=True):
        logits, _ = by_hand(name, row)
        words = EXAMPLES.inputs[row][EXAMPLES.inputs[row] != 0]
        log_probability = logits[:-1] - np.log(np.exp(logits[:-1]).sum(1, keepdims=True))
        assert nll == pytest.approx(-log_probability[np.arange(len(words) - 1), words[1:]].sum(), rel=1e-5)
        assert tokens == len(words) - 1


def test_perplexities_by_hand() -> None:
    """130 sentences: two batches of 64 of 2 and 3 nats a word, and two sentences more."""
    tokens = np.full(130, 2)
    nll = np.concatenate([np.full(64, 4.0), np.full(64, 6.0), np.full(2, 20.0)])
    found = perplexities(SentenceLosses(np.arange(130), nll, tokens))
    assert found["perplexity"] == pytest.approx(exp((64 * 4 + 64 * 6 + 40) / 260))
    assert found["batch_perplexity"] == pytest.approx((exp(2) + exp(3)) / 2)
    few = perplexities(SentenceLosses(np.arange(2), nll[:2], tokens[:2]))
    assert few["perplexity"] == few["batch_perplexity"] == pytest.approx(exp(2))


def test_sentences_that_stop_before_their_verb_have_no_perplexity() -> None:
    rows = np.array([2, 8])
    cut = {name: values[rows] for name, values in EXAMPLES.columns.items()}
    part = replace(
        EXAMPLES, inputs=EXAMPLES.inputs[rows], labels=EXAMPLES.labels[rows], ids=EXAMPLES.ids[rows], columns=cut
    )
    assert perplexities(sentence_losses(language.model(), part)) == {}


def test_a_model_that_knows_nothing_is_as_lost_as_its_vocabulary_is_large() -> None:
    model = language.model()
    with torch.no_grad():
        model.embedding.weight.zero_()
    found = perplexities(sentence_losses(model, EXAMPLES))
    assert found["perplexity"] == pytest.approx(len(language.VOCABULARY), rel=1e-5)
