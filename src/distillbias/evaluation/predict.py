"""Model + examples -> predictions, one row per example. Always in evaluation mode, float32, every row."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillbias.models.output import Factored, Output
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples
from distillbias.training.batching import ResidentData

Rows = Int[Tensor, " batch"]


@torch.no_grad()
def predict(
    model: nn.Module, examples: Examples, rows: np.ndarray | None = None, batch: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, classes] and penultimate activations [n, width], float32, in the order of `examples` (or `rows`).

    Of a language model: the logits of singular and plural where the verb is predicted, and the state there (T9). No
    batch is dropped (paper-facts T21). Sentences of like length are computed together; which ones changes an answer
    only in the last bits of a float32 sum.
    """
    chosen = torch.arange(len(examples)) if rows is None else torch.as_tensor(rows)
    places, logits, hidden = [], [], []
    for part, output in outputs(model, examples, chosen, batch):
        answers, penultimate = output.logits, output.hidden["penultimate"]
        if isinstance(answers, Factored):
            answers, penultimate = at_verb(answers, examples, chosen[part])
        places.append(part)
        logits.append(answers.float().cpu())  # keep no other activation: those of 60,000 images fill 10 GB
        hidden.append(penultimate.float().cpu())
    back = torch.cat(places).argsort()
    return torch.cat(logits)[back].numpy(), torch.cat(hidden)[back].numpy()


def outputs(model: nn.Module, examples: Examples, rows: Int[Tensor, " n"], batch: int) -> Iterator[tuple[Rows, Output]]:
    """What the model says of all `rows`, batch by batch: (places in `rows`, output).

    Evaluation mode; the model's own is restored at the end.
    """
    was_training = model.training
    model.eval()
    try:
        data = ResidentData(examples, next(model.parameters()).device)
        for part in data.by_length(rows, batch):
            with torch.no_grad():
                said = model(data.rows(rows[part]).inputs)
            yield part, said
    finally:
        model.train(was_training)


def at_verb(
    logits: Factored, examples: Examples, rows: Rows
) -> tuple[Float[Tensor, "batch 2"], Float[Tensor, "batch width"]]:
    """Logits of singular and plural after the words before the verb, and the state there (F7.2).

    Those of the verb's own two forms; where they are not known, log of the summed exponentials over the forms of all
    verbs, which differ as the logarithms of their summed probabilities do. A tie is wrong: the right form is lowered by
    the smallest step.
    """
    assert isinstance(examples, NextWordExamples), "a language model is scored on sentences for language models"
    device = logits.states.device
    known = {name: torch.as_tensor(examples.columns[name])[rows].long() for name in ("position", "singular", "plural")}
    states = logits.states[torch.arange(len(rows)), known["position"].to(device)]
    forms = torch.stack([known["singular"], known["plural"]], 1)  # [batch, 2]
    told = forms[:, 0] >= 0
    answers = states.new_empty(len(rows), 2)
    own = logits.matrix[forms[told].to(device)]  # [told, 2, width]
    answers[told] = (own @ states[told, :, None])[..., 0]
    if not told.all():
        of_all = torch.as_tensor(examples.forms, device=device)
        pooled = [(states[~told] @ logits.matrix[ids].T).logsumexp(1) for ids in of_all]
        answers[~told] = torch.stack(pooled, 1)
    labels = torch.as_tensor(examples.labels)[rows].to(device)
    tied = (answers[:, 0] == answers[:, 1]).nonzero()[:, 0]
    right = answers[tied, labels[tied]]
    answers[tied, labels[tied]] = right.nextafter(right - 1)
    return answers, states


def sample_rows(examples: Examples, count: int, seed: int) -> np.ndarray:
    """The fixed sample that representations are compared on: `count` rows (or all) without repeats, sorted."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.permutation(len(examples))[:count])
