"""native.c, compiled for the machine it runs on: what a step does between its matrix products, and small ones of these.

A C compiler makes it when a training first needs it, in a few seconds, and what it has made is kept for later processes
(below $DISTILLBIAS_CACHE, else ~/.cache/distillbias). Without one a run's log says so and torch's own operators
compute the same, to rounding, in more time. `compiled.py` has what of it models call.
"""

import ctypes
import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, no_type_check

import torch
from torch import Tensor

from distillbias.data.files import cache_folder

SOURCE = Path(__file__).with_name("native.c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math")
TYPES = {torch.float32: (), torch.bfloat16: ("-DBF16",)}
MOST = 2  # threads of a process that one native one is faster than
SECONDS = 60.0  # that a compiler may take

TENSOR = object()  # stands where a call has one

Native = Callable[..., None]  # native("drop", x, draws, ...): tensors by where they lie, None as a null pointer
Bind = Callable[..., Callable[[], None]]  # makes a call of the tensors that it reads and writes
Listener = Callable[[Bind, Sequence[Tensor]], None]

_aside = False
_listener: Listener | None = None


def native(x: Tensor, kind: torch.dtype | None = None, shared: bool = True) -> Native | None:
    """The functions for values of type `kind`, else of that of `x`; None where torch's own operators serve.

    They serve on other devices, in other types, and where a process has more than two threads: most native functions
    have one, which takes less time than two of torch's. With `shared` False that is no reason, for work that several
    threads do not share in torch either.
    """
    if _aside or x.device.type != "cpu" or (shared and torch.get_num_threads() > MOST):
        return None
    return _functions(x.dtype if kind is None else kind)


def is_aside() -> bool:
    return _aside


@contextmanager
def put_aside() -> Iterator[None]:
    """Within, torch's own operators compute everything, on GPUs, too (`models/kernels/`)."""
    global _aside
    before, _aside = _aside, True
    try:
        yield
    finally:
        _aside = before


@contextmanager
def listened(listener: Listener) -> Iterator[None]:
    """Within, it is told of calls that no operator of torch shows, and of the tensors that they read and write."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def heard(bind: Bind, *tensors: Tensor) -> None:
    """Make a call in which no operator of torch is, on these tensors. Of those within it nobody hears."""
    global _listener
    listener, _listener = _listener, None
    try:
        bind(*tensors)()
    finally:
        _listener = listener
    if listener is not None:
        listener(bind, tensors)


@cache
def _functions(kind: torch.dtype) -> Native | None:
    if kind not in TYPES:
        return None
    try:
        library = ctypes.CDLL(str(_made(*TYPES[kind])))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"torch's own operators are used, which takes longer: native.c was not compiled: {_why(error)}")
        return None

    known: dict[str, Any] = {}

    def call(name: str, *given: Tensor | int | float | None) -> None:
        if name not in known:
            known[name] = getattr(library, name)
            known[name].argtypes = [*map(_type, given)]  # told once: ctypes then converts in no time to speak of
        numbers = [TENSOR if isinstance(each, Tensor) else each for each in given]
        heard(partial(_bound, known[name], numbers), *(each for each in given if isinstance(each, Tensor)))

    return call


# beside `call`, not within: a checker of types, as tests have one, would read a function anew each time it is made


def _bound(function: Any, numbers: list[Any], *tensors: Tensor) -> Callable[[], None]:
    """The call of `function` with `tensors` where `numbers` have none."""
    places = iter(tensors)
    return partial(_act, function, [next(places).data_ptr() if each is TENSOR else each for each in numbers])


@no_type_check  # of the calls that a test checks at each step of a training it was every fourth
def _act(function: Any, pointers: list[Any]) -> None:
    if function(*pointers):
        raise MemoryError(f"{function.__name__} found no memory")


def _type(given: Tensor | int | float | None) -> type:
    if given is None or isinstance(given, Tensor):
        return ctypes.c_void_p
    return ctypes.c_long if isinstance(given, int) else ctypes.c_float


def _made(*more: str) -> Path:
    """With OpenMP, whose library is then the one that torch has loaded; where a compiler lacks it functions have one
    thread."""
    try:
        return _compiled(*more, "-fopenmp")
    except subprocess.CalledProcessError:
        return _compiled(*more, "-fopenmp-simd")


def _compiled(*more: str) -> Path:
    """Where the library lies. Its name tells the source, the compiler and what this processor can do, so machines that
    share a folder do not share what only one of them can run."""
    compiler = [*shlex.split(os.environ.get("CC") or "cc"), *FLAGS, *more]
    knows = _said([*compiler, "-dM", "-E", "-x", "c", os.devnull])
    name = hashlib.sha256(SOURCE.read_bytes() + knows + shlex.join(compiler).encode()).hexdigest()[:16]
    folder = cache_folder() / "native"
    path = folder / f"{name}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            made = Path(beside) / path.name
            _said([*compiler, "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-lm"])
            made.replace(path)  # whole or not there; of two processes the later one's is kept, which is the same
    return path


def _said(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=SECONDS).stdout


def _why(error: Exception) -> str:
    """Its first line, of a compiler's error what it says."""
    told = getattr(error, "stderr", None) or str(error).encode()
    return told.decode(errors="replace").strip().splitlines()[0]
