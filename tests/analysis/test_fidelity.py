import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score

from distillbias.analysis.fidelity import fidelity
from distillbias.errors import InputError

quick = settings(derandomize=True, deadline=None, max_examples=40)


def drawn(seed, n=60, classes=4):
    random = np.random.default_rng(seed)
    student, teacher = random.normal(scale=2, size=(2, n, classes))
    return student, teacher + student / 2, random.integers(classes, size=n)


def guessing(guesses, classes):
    return np.eye(classes)[guesses]


def test_by_hand():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    taught = np.array([0, 0, 0, 0, 1, 1, 1, 2, 0, 1])  # right on 6; errors: 1, 2, 0, 1
    guess = np.array([0, 0, 0, 2, 1, 1, 1, 0, 0, 2])  # copied: 1 and 0; wrong anew: 0; corrected: 2; broken: 2
    found = fidelity(guessing(guess, 3), guessing(taught, 3), labels)
    assert found.n == 10
    assert found.agreement == 7 / 10
    assert (found.copied, found.shared, found.corrected) == (2 / 4, 3 / 4, 1 / 4)
    assert found.broken == 1 / 6
    assert found.chance_agreement == pytest.approx(0.6 * 0.6 + 0.4 * 0.4 / 2)
    # alike in being right or wrong on 8 of 10; by chance 0.6 * 0.6 + 0.4 * 0.4
    assert found.consistency == pytest.approx((0.8 - 0.52) / (1 - 0.52))


def test_divergence_by_hand():  # 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75) = log 2 / 2 + log(2/3) / 2, then 0
    student, teacher = np.log([[0.25, 0.75], [0.1, 0.9]]), np.log([[0.5, 0.5], [0.1, 0.9]])
    expected = (np.log(2) + np.log(2 / 3)) / 2 / 2
    assert fidelity(student, teacher, np.array([0, 0])).divergence == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_matches_scipy_torch_and_sklearn(seed):
    student, teacher, labels = drawn(seed)
    found = fidelity(student, teacher, labels)
    p, q = scipy.special.softmax(teacher, axis=1), scipy.special.softmax(student, axis=1)
    assert found.divergence == pytest.approx(scipy.stats.entropy(p, q, axis=1).mean())
    logs = [torch.log_softmax(torch.from_numpy(logits), 1) for logits in (student, teacher)]
    theirs = torch.nn.functional.kl_div(*logs, reduction="batchmean", log_target=True)
    assert found.divergence == pytest.approx(theirs.item())
    guess, taught = q.argmax(1), p.argmax(1)
    assert found.agreement == accuracy_score(taught, guess)
    assert found.consistency == pytest.approx(cohen_kappa_score(guess == labels, taught == labels))


@quick
@given(seed=st.integers(0, 500), classes=st.integers(2, 6), n=st.integers(1, 30))
def test_shares_keep_their_laws(seed, classes, n):
    student, teacher, labels = drawn(seed, n, classes)
    found = fidelity(student, teacher, labels)
    right, taught_right = (logits.argmax(1) == labels for logits in (student, teacher))
    errors, hits = int((~taught_right).sum()), int(taught_right.sum())
    assert found.divergence >= 0
    if errors:
        assert found.shared + found.corrected == pytest.approx(1) and found.copied <= found.shared
        assert classes > 2 or found.copied == found.shared  # with two classes there is one way to be wrong
    if errors and hits:  # accuracy falls by what breaks and rises by what is corrected
        change = (found.corrected * errors - found.broken * hits) / n
        assert right.mean() - taught_right.mean() == pytest.approx(change)
        assert found.agreement == pytest.approx(((1 - found.broken) * hits + found.copied * errors) / n)
    order = np.random.default_rng(seed).permutation(n)
    shuffled = fidelity(student[order], teacher[order], labels[order])
    assert list(vars(shuffled).values()) == pytest.approx(list(vars(found).values()), nan_ok=True)


@quick
@given(seed=st.integers(0, 500))
def test_a_perfect_copy(seed):
    _, teacher, labels = drawn(seed)
    found = fidelity(teacher.copy(), teacher, labels)
    assert (found.agreement, found.divergence, found.consistency) == (1, 0, 1)
    assert (found.copied, found.shared, found.corrected, found.broken) == (1, 1, 0, 0)
    shifted = fidelity(teacher + 3.7, teacher, labels)  # softmax does not see it
    assert shifted.agreement == 1 and 0 <= shifted.divergence < 1e-12


def test_chance_agreement_is_met_by_independent_errors():
    random = np.random.default_rng(0)
    n, classes = 100_000, 5
    labels = random.integers(classes, size=n)
    guess, taught = (
        np.where(random.random(n) < rate, (labels + random.integers(1, classes, size=n)) % classes, labels)
        for rate in (0.5, 0.3)
    )
    found = fidelity(guessing(guess, classes), guessing(taught, classes), labels)
    assert found.agreement == pytest.approx(found.chance_agreement, abs=0.005)
    assert found.chance_agreement == pytest.approx(0.5 * 0.7 + 0.5 * 0.3 / 4, abs=0.005)
    assert found.consistency == pytest.approx(0, abs=0.01)
    assert found.copied == pytest.approx(0.5 / 4, abs=0.01) and found.broken == pytest.approx(0.5, abs=0.01)


def test_nothing_to_share_is_nan():
    labels = np.array([0, 1, 1])
    perfect, hopeless = guessing(labels, 2), guessing(1 - labels, 2)
    found = fidelity(hopeless, perfect, labels)
    assert np.isnan([found.copied, found.shared, found.corrected]).all() and found.broken == 1
    assert (found.agreement, found.chance_agreement, found.consistency) == (0, 0, 0)
    found = fidelity(perfect, hopeless, labels)
    assert np.isnan(found.broken) and (found.corrected, found.shared, found.copied) == (1, 0, 0)
    assert np.isnan(fidelity(perfect, perfect, labels).consistency)


def test_extreme_logits():
    labels = np.array([0])
    far = np.array([[0.0, 2000.0]], np.float32)
    assert fidelity(far, -far, labels).divergence == 2000  # exp(-2000) underflows, its logarithm does not
    out = np.array([[0.0, -np.inf]])
    assert fidelity(out, np.zeros((1, 2)), labels).divergence == np.inf  # the student rules out what it was taught
    assert fidelity(np.zeros((1, 2)), out, labels).divergence == pytest.approx(np.log(2))
    assert fidelity(out, out, labels).divergence == 0


def test_wrong_input_is_refused():
    logits, labels = np.zeros((2, 3)), np.array([0, 1])
    with pytest.raises(InputError, match=r"got \[2, 2\] and \[2, 3\]"):
        fidelity(np.zeros((2, 2)), logits, labels)
    with pytest.raises(InputError, match="got 1 labels for 2 rows"):
        fidelity(logits, logits, labels[:1])
    with pytest.raises(InputError, match="label 1 is 5"):
        fidelity(logits, logits, np.array([0, 5]))
    with pytest.raises(InputError, match="at least two classes, got 1"):
        fidelity(logits[:, :1], logits[:, :1], np.array([0, 0]))
    with pytest.raises(InputError, match="row 0 has nan"):
        fidelity(np.full((2, 3), np.nan), logits, labels)
