"""Where data sets live, and how they get there: import from a folder, download, verify.

A home holds `mnist/` (four gzipped idx files) and `mnist_c/<corruption>/` (.npy arrays). Every file is written whole
or not at all, and only after its content was verified, so what lies there is either genuine or was changed later.
"""

import os
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from distillbias.data import agreement, files, mnist, mnist_c, published
from distillbias.data.catalogue import DATA_SETS, DataSet, File, lookup
from distillbias.data.download import Accept, Progress, fetch_first
from distillbias.errors import InputError

AGREEMENT = "agreement"  # many files of many origins, recognised by their content; see data.agreement
VARIABLE = "DISTILLBIAS_DATA"
ARCHIVE = "mnist_c.zip"


class Status(NamedTuple):
    """What is known of one file (of one corruption, for MNIST-C)."""

    file: str
    state: str  # "ok", "missing" or "damaged"
    reason: str  # how it was verified, or what is wrong


class Availability(NamedTuple):
    """What lies at home of one data set, by presence alone: `verify` looks inside."""

    data_set: DataSet
    complete: bool
    present: tuple[str, ...]


def home(given: Path | None = None) -> Path:
    """The folder of all data sets: `given`, else $DISTILLBIAS_DATA, else ~/.cache/distillbias. Need not exist yet."""
    folder = given or Path(os.environ.get(VARIABLE) or Path("~") / ".cache" / "distillbias")
    folder = folder.expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the data home {folder} is a file; the rule is a folder (option, ${VARIABLE} or the default)")
    return folder


def import_folder(name: str, folder: Path, home: Path, skip_bad: bool = False) -> list[Path]:
    """Verify the files of data set `name` in `folder` and copy them to `home`; for MNIST-C a zip archive will do too.

    `skip_bad` lets agreement files with bad rows pass.

    Returns:
        The files written.

    Raises:
        InputError: unknown data set, files missing or not genuine, or `home` cannot be written.
    """
    if name != AGREEMENT:
        lookup(name)
    if not folder.exists():
        raise InputError(f"no folder {folder} to import {name} from")
    if name == AGREEMENT:
        return agreement.import_agreement(folder, home, skip_bad)
    return _import_mnist(folder, home) if name == "mnist" else _import_mnist_c(folder, home)


def _import_mnist(folder: Path, home: Path) -> list[Path]:
    wanted = DATA_SETS["mnist"].files
    paths = mnist.locate(folder)
    contents = [files.read_verified(path, file) for path, file in zip(paths, wanted, strict=True)]  # all, before any
    return [_keep_mnist(content, file, home) for content, file in zip(contents, wanted, strict=True)]


def _keep_mnist(content: bytes, file: File, home: Path) -> Path:
    target = home / "mnist" / f"{file.name}.gz"
    files.write_atomically(target, files.packed(content))
    return target


def _import_mnist_c(source: Path, home: Path) -> list[Path]:
    archive = source if source.is_file() else source / ARCHIVE
    if archive.is_file():
        try:
            with archive.open("rb") as handle:
                return _keep_mnist_c(published.from_zip(handle, str(archive)), str(archive), home)
        except OSError as error:
            raise InputError(f"cannot read {archive}: {error.strerror or error}") from error
    inner = source / "mnist_c" if (source / "mnist_c").is_dir() else source
    return _keep_mnist_c(published.from_folder(inner), str(source), home)


def _keep_mnist_c(read: published.Read, what: str, home: Path) -> list[Path]:
    written = []
    for corruption in published.NAMES:
        pair = published.files_of(corruption, read)
        if pair is None:
            continue
        published.read_pair(*pair, corruption)
        for name, content in zip((published.IMAGES, published.LABELS), pair, strict=True):
            target = home / "mnist_c" / corruption / name
            files.write_atomically(target, content)
            written.append(target)
    if not written:
        raise InputError(f"no MNIST-C in {what}: looked for scale/{published.IMAGES} and the like, and for {ARCHIVE}")
    return written


def download(name: str, home: Path, mirrors: tuple[str, ...] | None = None, progress: Progress | None = None) -> None:
    """Fetch data set `name` into `home`; files that are there and genuine are not fetched again.

    Raises:
        InputError: unknown data set, all mirrors failed (says what each answered), or `home` cannot be written.
    """
    data_set = lookup(name)
    done = {status.file for status in verify(name, home) if status.state == "ok"}
    if name == "mnist_c" and done.issuperset(mnist_c.CORRUPTIONS):
        return
    for file in data_set.files:
        if file.name not in done:
            limit = files.packed_limit(file.size)
            sources = data_set.mirrors if mirrors is None else mirrors
            fetch_first(file.name + data_set.suffix, sources, limit, home / name, _accept(name, file, home), progress)


def _accept(name: str, file: File, home: Path) -> Accept:
    def idx(draft: BufferedIOBase) -> None:
        _keep_mnist(files.verified(draft.read(), file, file.name), file, home)

    def archive(draft: BufferedIOBase) -> None:
        digest = files.sha256_of(draft)
        if digest != file.sha256:
            raise InputError(f"SHA-256 {digest[:16]}...; the genuine {file.name} has {file.sha256[:16]}...")
        draft.seek(0)
        _keep_mnist_c(published.from_zip(draft, file.name), file.name, home)

    return idx if name == "mnist" else archive


def verify(name: str, home: Path) -> list[Status]:
    """Look at every file of data set `name` in `home`; reads and hashes them all."""
    if name == AGREEMENT:
        return [_verify_sentences(part, home) for part in agreement.SETS]
    lookup(name)
    if name == "mnist":
        return [_verify_idx(file, home) for file in DATA_SETS["mnist"].files]
    present = _present_corruptions(home)
    return [_verify_arrays(name, home) for name in published.NAMES if name in mnist_c.CORRUPTIONS or name in present]


def _verify_sentences(name: str, home: Path) -> Status:
    if name not in agreement.available(home):
        return Status(name, "missing", f"not in {home}")
    try:
        rows = sum(len(sentences) for sentences in agreement.load_set(name, home).values())
    except InputError as error:
        return Status(name, "damaged", str(error))
    return Status(name, "ok", f"{rows:,} sentences, each with its verb where it should be; no checksum is published")


def _verify_idx(file: File, home: Path) -> Status:
    path = mnist.find(home / "mnist", file)
    if path is None:
        return Status(file.name, "missing", f"not in {home / 'mnist'}")
    try:
        files.read_verified(path, file)
    except InputError as error:
        return Status(file.name, "damaged", str(error))
    return Status(file.name, "ok", "SHA-256 of the content")


def _verify_arrays(corruption: str, home: Path) -> Status:
    try:
        found = published.load(home, corruption)
    except InputError as error:
        return Status(corruption, "damaged", str(error))
    if found is None:
        return Status(corruption, "missing", f"not in {home / 'mnist_c'}")
    return Status(corruption, "ok", "shape, type and MNIST's test labels; no checksum of the arrays is published")


def _present_corruptions(home: Path) -> tuple[str, ...]:
    return tuple(name for name in published.NAMES if (home / "mnist_c" / name / published.IMAGES).is_file())


def available(home: Path) -> list[Availability]:
    """What `home` holds of each obtainable data set, without reading it. MNIST-C is complete with the two we use."""
    idx = tuple(file.name for file in DATA_SETS["mnist"].files if mnist.find(home / "mnist", file) is not None)
    arrays = _present_corruptions(home)
    return [
        Availability(DATA_SETS["mnist"], len(idx) == len(DATA_SETS["mnist"].files), idx),
        Availability(DATA_SETS["mnist_c"], set(mnist_c.CORRUPTIONS) <= set(arrays), arrays),
    ]
