"""Perplexity of a language model on whole sentences; those that stop before the verb have none."""

from math import exp
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from distillbias.data.vocabulary import END
from distillbias.evaluation.predict import outputs
from distillbias.models.output import Factored
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.training.next_word import losses, targets

BATCH = 64  # sentences; the authors' average is over batches of so many (F7.1)


class SentenceLosses(NamedTuple):
    """One row for each whole sentence, in the order of the examples."""

    rows: np.ndarray  # [n] which examples
    nll: np.ndarray  # [n] float64, nats: the sum over all words and `<eos>`
    tokens: np.ndarray  # [n] how many that are


def sentence_losses(model: nn.Module, examples: NextWordExamples, batch: int = BATCH) -> SentenceLosses:
    """In evaluation mode; all positions of a batch at a time would not fit, so their logits come in chunks."""
    rows = np.flatnonzero((examples.inputs == END).any(1))
    nll = torch.zeros(len(rows), dtype=torch.float64)
    if len(rows):
        words = torch.as_tensor(examples.inputs[rows]).long()
        for part, output in outputs(model, examples, torch.as_tensor(rows), batch):
            assert isinstance(output.logits, Factored), "only a language model has a perplexity"
            asked = targets(words[part, : output.logits.states.shape[1]]).to(output.logits.states.device)
            nll[part] = losses(output.logits, asked).double().sum(1).cpu()
    return SentenceLosses(rows, nll.numpy(), (examples.inputs[rows] != 0).sum(1) - 1)


def perplexities(found: SentenceLosses) -> dict[str, float]:
    """{} where there is no whole sentence; else, each in [1, inf], lower is better,

    perplexity         exp(all losses / all tokens) (T22)
    batch_perplexity   the mean over batches of 64 sentences in their order, as the authors have it; what is left over
                       by the last full batch is left out, if there is one full batch
    """
    if not len(found.rows):
        return {}
    starts = range(0, max(1, len(found.rows) - BATCH + 1), BATCH)
    batches = [slice(start, start + BATCH) for start in starts]
    each = [exp(found.nll[where].sum() / found.tokens[where].sum()) for where in batches]
    return {"perplexity": exp(found.nll.sum() / found.tokens.sum()), "batch_perplexity": float(np.mean(each))}
