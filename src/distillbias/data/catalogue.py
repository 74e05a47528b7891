"""The data sets that can be obtained: what they are, whence, and how a genuine copy is told."""

from dataclasses import dataclass

from distillbias.errors import InputError


@dataclass(frozen=True)
class File:
    """One published file. Size and checksums are of the *uncompressed* bytes: gzip wrappers differ, contents do not."""

    name: str
    size: int
    sha256: str
    md5: str


@dataclass(frozen=True)
class DataSet:
    """One obtainable data set."""

    name: str
    description: str
    licence: str
    files: tuple[File, ...]
    suffix: str  # what follows a file's name at a mirror and in the cache
    mirrors: tuple[str, ...]  # base addresses, ending in "/"
    checked_by: str  # how far a copy can be verified, said honestly


# Checksums computed from a genuine copy; the md5 of the training images is the published one of the uncompressed file.
MNIST = DataSet(
    name="mnist",
    description="MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28",
    licence="commonly given as CC BY-SA 3.0 (LeCun, Cortes, Burges)",
    files=(
        File(
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        File(
            "train-labels-idx1-ubyte",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "a25bea736e30d166cdddb491f175f624",
        ),
        File(
            "t10k-images-idx3-ubyte",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "2646ac647ad5339dbf082846283269ea",
        ),
        File(
            "t10k-labels-idx1-ubyte",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    suffix=".gz",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    checked_by="SHA-256 of the uncompressed bytes of every file",
)

# We never held this archive. Size and SHA-256 as recorded by tensorflow/datasets (url_checksums/mnist_corrupted.txt),
# md5 as recorded by three other public loaders. Nobody publishes checksums of the single arrays.
MNIST_C = DataSet(
    name="mnist_c",
    description="MNIST-C (Mu & Gilmer 2019): the MNIST test images under 15 corruptions, Zenodo record 3239543",
    licence="see Zenodo record 3239543; the generating code is Apache-2.0",
    files=(
        File(
            "mnist_c.zip",
            246_661_575,
            "af9ee8c6a815870c7fdde5af84c7bf8db0bcfa1f41056db83871037fba70e493",
            "4b34b33045869ee6d424616cd3a65da3",
        ),
    ),
    suffix="",
    mirrors=("https://zenodo.org/record/3239543/files/",),
    checked_by="a download: SHA-256 of the archive as others recorded it; arrays: shape, type and MNIST's test labels "
    "only, since no checksum of the arrays is published",
)

DATA_SETS: dict[str, DataSet] = {data_set.name: data_set for data_set in (MNIST, MNIST_C)}


def lookup(name: str) -> DataSet:
    """The data set called `name`; InputError naming the choices if there is none."""
    if name == "agreement":
        raise InputError(
            "agreement data cannot be downloaded: their address answers no more (404 since 2024), and most sets allow "
            "no copies; get the files from their authors and use `distillbias data import agreement DIR`"
        )
    if name not in DATA_SETS:
        raise InputError(f"unknown data set {name!r}; the choices are {', '.join(DATA_SETS)} and agreement")
    return DATA_SETS[name]
