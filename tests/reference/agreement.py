"""Macro accuracy as its definition reads: one example after the other, one group after the other."""


def macro_accuracy(logits, labels, values, groups):
    """(mean over all groups or None, groups without examples)."""
    accuracies, missing = [], []
    for group in groups:
        right = wrong = 0
        for (singular, plural), label, value in zip(logits, labels, values, strict=True):
            if value == group:
                guess = 1 if plural > singular else 0
                right, wrong = right + (guess == label), wrong + (guess != label)
        if right + wrong == 0:
            missing.append(group)
        else:
            accuracies.append(right / (right + wrong))
    return (None if missing else sum(accuracies) / len(accuracies)), missing
