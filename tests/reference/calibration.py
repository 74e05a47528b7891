"""Calibration error, bin by bin and row by row, as the definition reads."""


def expected_calibration_error(probabilities, labels, bins):
    n, total = len(labels), 0.0
    for b in range(1, bins + 1):
        hits, confidences = [], []
        for row, label in zip(probabilities, labels, strict=True):
            confidence = max(row)
            if (b - 1) / bins < confidence <= b / bins or (b == 1 and confidence == 0):
                hits.append(float(list(row).index(confidence) == label))
                confidences.append(float(confidence))
        if hits:
            total += len(hits) / n * abs(sum(hits) / len(hits) - sum(confidences) / len(confidences))
    return total
