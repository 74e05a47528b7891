"""The paper's numbers on subject-verb agreement: Abnar, Dehghani & Zuidema 2020, Tables 1 to 4, 7 and 8.

Means and sample standard deviations over 4 trials (3 in the logs of Table 3). Where a number comes from the authors'
logs, because the paper shows it in a figure only, its source says so. Metrics: "micro", "D" and "A" accuracy,
"perplexity", "ece20" and "paper_ece" (20 and 1,000,000 bins); "train ..." are those of Tables 7 and 8.
"""

from collections.abc import Mapping, Sequence

from distillbias.report.published import Published

Numbers = dict[tuple[str, str], Published]  # (arm, metric)

CLASSIFIERS = ("Transformer", "Transformer-seq", "UniversalTransformer-seq", "LSTM")
LANGUAGE_MODELS = ("LSTM", "Small LSTM", "Transformer", "Small Transformer")  # in the order of Table 3
Pairs = Sequence[tuple[float, float] | tuple[float, None]]


def _rows(table: str, metrics: Sequence[str], rows: Mapping[str, Pairs], digits: Sequence[int]) -> Numbers:
    """A table of arms by metrics."""
    return {
        (arm, metric): Published(mean, sd, table, places)
        for arm, cells in rows.items()
        for metric, (mean, sd), places in zip(metrics, cells, digits, strict=True)
    }


def _square(table: str, metric: str, teachers: Sequence[str], rows: Mapping[str, Pairs], digits: int) -> Numbers:
    """A table of students by teachers."""
    return {
        (f"{teacher} → {student}", metric): Published(mean, sd, table, digits)
        for student, cells in rows.items()
        for teacher, (mean, sd) in zip(teachers, cells, strict=True)
    }


_TABLE_2 = {
    "Transformer": ((0.954, 0.0016), (0.901, 0.0037), (0.717, 0.0244)),
    "Transformer-seq": ((0.964, 0.0010), (0.909, 0.0037), (0.742, 0.0121)),
    "UniversalTransformer-seq": ((0.969, 0.0004), (0.932, 0.0055), (0.806, 0.0153)),
    "LSTM": ((0.977, 0.0001), (0.970, 0.0003), (0.928, 0.0007)),
}
_TABLE_4 = {
    "Transformer": ((0.9555, 0.0013), (0.9556, 0.0006), (0.9571, 0.0027), (0.9596, 0.0008)),
    "Transformer-seq": ((0.9599, 0.0006), (0.9629, 0.0008), (0.9679, 0.0005), (0.9720, 0.0017)),
    "UniversalTransformer-seq": ((0.9611, 0.0006), (0.9635, 0.0004), (0.9688, 0.0008), (0.9748, 0.0003)),
    "LSTM": ((0.9682, 0.0002), (0.9690, 0.0011), (0.9741, 0.0004), (0.9759, 0.0001)),
}
_TABLE_8 = {  # the paper gives no deviations, and its logs give other numbers (T25)
    "Transformer": ((0.9957, None),),
    "Transformer-seq": ((0.9957, None),),
    "UniversalTransformer-seq": ((0.9966, None),),
    "LSTM": ((0.9862, None),),
}
_LOGGED_ALONE = {
    "Transformer": ((0.0165, 0.0022), (0.0549, 0.0019)),
    "UniversalTransformer-seq": ((0.0125, 0.0004), (0.0365, 0.0012)),
}
_LOGGED_STUDENTS = {  # the logs of the other two teachers were not found
    "Transformer → Transformer": ((0.9059, 0.0018), (0.7259, 0.0232), (0.0161, 0.0021), (0.0538, 0.0009)),
    "Transformer → Transformer-seq": ((0.8993, 0.0068), (0.7065, 0.0233), (0.0077, 0.0016), (0.0533, 0.0007)),
    "Transformer → UniversalTransformer-seq": ((0.8982, 0.0047), (0.6882, 0.0061), (0.0050, 0.0022), (0.0531, 0.0007)),
    "Transformer → LSTM": ((0.9276, 0.0022), (0.7564, 0.0121), (0.0058, 0.0006), (0.0498, 0.0004)),
    "UniversalTransformer-seq → Transformer": ((0.9117, 0.0071), (0.7788, 0.0141), (0.0175, 0.0023), (0.0500, 0.0029)),
    "UniversalTransformer-seq → Transformer-seq": (
        *((0.9262, 0.0013), (0.7829, 0.0085), (0.0074, 0.0016), (0.0418, 0.0005)),
    ),
    "UniversalTransformer-seq → UniversalTransformer-seq": (
        *((0.9288, 0.0056), (0.8036, 0.0143), (0.0062, 0.0005), (0.0408, 0.0013)),
    ),
    "UniversalTransformer-seq → LSTM": ((0.9509, 0.0044), (0.8447, 0.0180), (0.0037, 0.0007), (0.0389, 0.0014)),
}

CLASSIFICATION: Numbers = {
    **_rows("Table 2", ("micro", "D", "A"), _TABLE_2, (3, 3, 3)),
    **_square("Table 4", "micro", CLASSIFIERS, _TABLE_4, 4),
    **_rows("Table 8", ("train micro",), _TABLE_8, (4,)),
    **_rows("logs", ("ece20", "paper_ece"), _LOGGED_ALONE, (4, 4)),
    **_rows("logs", ("D", "A", "ece20", "paper_ece"), _LOGGED_STUDENTS, (4, 4, 4, 4)),
}

_TABLE_1 = {
    "Transformer": ((57.50, 0.1199), (0.9417, 0.0017), (0.9191, 0.0018)),
    "Small Transformer": ((55.31, 0.0847), (0.9467, 0.0012), (0.9261, 0.0020)),
    "LSTM": ((56.68, 0.0906), (0.9510, 0.0012), (0.9400, 0.0024)),
    "Small LSTM": ((58.05, 0.1141), (0.9491, 0.0006), (0.9366, 0.0015)),
}
_TABLE_3_A = {
    "LSTM": ((0.9275, 0.0017), (0.9310, 0.0013), (0.9083, 0.0044), (0.9257, 0.0027)),
    "Small LSTM": ((0.9224, 0.0024), (0.9272, 0.0026), (0.8985, 0.0057), (0.9157, 0.0020)),
    "Transformer": ((0.9296, 0.0029), (0.9316, 0.0012), (0.8956, 0.0018), (0.9195, 0.0015)),
    "Small Transformer": ((0.9201, 0.0018), (0.9233, 0.0011), (0.8827, 0.0027), (0.9131, 0.0014)),
}
_TABLE_3_PERPLEXITY = {
    "LSTM": ((59.45, 0.0191), (60.92, 0.0185), (60.01, 0.0328), (58.65, 0.0036)),
    "Small LSTM": ((62.52, 0.1071), (63.44, 0.0272), (63.45, 0.0644), (61.62, 0.0619)),
    "Transformer": ((57.03, 0.0092), (59.09, 0.0126), (57.67, 0.0091), (56.64, 0.0352)),
    "Small Transformer": ((57.84, 0.0269), (59.73, 0.0166), (58.44, 0.0354), (57.16, 0.0087)),
}
_TABLE_7 = {
    "Transformer": ((29.62, 0.10), (0.956, 0.001), (0.936, 0.004)),
    "Small Transformer": ((33.02, 0.05), (0.959, 0.001), (0.948, 0.005)),
    "LSTM": ((28.92, 0.08), (0.964, 0.003), (0.955, 0.003)),
    "Small LSTM": ((31.03, 0.11), (0.964, 0.001), (0.952, 0.006)),
}

LANGUAGE_MODEL: Numbers = {
    **_rows("Table 1", ("perplexity", "D", "A"), _TABLE_1, (2, 4, 4)),
    **_square("Table 3", "A", LANGUAGE_MODELS, _TABLE_3_A, 4),
    **_square("Table 3", "perplexity", LANGUAGE_MODELS, _TABLE_3_PERPLEXITY, 2),
    **_rows("Table 7", ("train perplexity", "train D", "train A"), _TABLE_7, (2, 3, 3)),
}
