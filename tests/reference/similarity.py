"""Representational similarity and the debiased HSIC, entry by entry, as the definitions read."""

from itertools import permutations
from math import sqrt


def dot(x, y):
    return sum(float(p) * float(q) for p, q in zip(x, y, strict=True))


def unit(x):
    length = sqrt(dot(x, x))
    return [float(p) / length if length else 0.0 for p in x]


def profiles(activations, variant, diagonal):
    rows = [unit(row) if variant == "code" else row for row in activations]
    result = []
    for i, one in enumerate(rows):
        profile = [dot(one, other) if diagonal or i != j else 0.0 for j, other in enumerate(rows)]
        result.append(unit(profile))
    return result


def representational_similarity(a, b, variant, diagonal):
    total = 0.0
    for p, q in zip(profiles(a, variant, diagonal), profiles(b, variant, diagonal), strict=True):
        both_zero = not any(p) and not any(q)
        total += 1.0 if both_zero else dot(p, q)
    return total / len(a)


def unbiased_hsic(k, m):
    """Mean over all ordered 4-tuples of distinct inputs."""
    terms = [k[i][j] * (m[i][j] + m[q][r] - 2 * m[i][q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return sum(terms) / len(terms)
