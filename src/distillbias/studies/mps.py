"""Processes that share a GPU at the same time rather than in turns: NVIDIA's Multi-Process Service.

Small models leave most of a GPU idle, and processes that take turns do not fill it: `docs/machines.md` has the figures.
The service is started for one command, in a folder of its own, needs no rights, and changes no setting of
the card. If one is there already (`CUDA_MPS_PIPE_DIRECTORY` names it), that is used.
"""

import os
import shutil
import subprocess
import sys
import tempfile

CONTROL = "nvidia-cuda-mps-control"
PIPE, LOG = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"  # its names for them
PATIENCE = 60.0  # seconds
# Ask for the GPU as a process that trains does: whether the service works is seen by its first client only.
TRY = """
import ctypes
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
asked = [cuda.cuInit(0), cuda.cuDeviceGet(ctypes.byref(device), 0)]
raise SystemExit(max(asked) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
"""


class Service:
    """The service of this command, from `start` to `close`. Processes that are started in between use it."""

    def __init__(self) -> None:
        self.folder = ""

    def start(self) -> str:
        """Why it cannot be; "" if it runs."""
        if os.environ.get(PIPE):
            return ""
        if shutil.which(CONTROL) is None:
            return f"{CONTROL} is not installed"
        self.folder = tempfile.mkdtemp(prefix="distillbias-mps-")
        os.environ |= {PIPE: self.folder, LOG: self.folder}
        why = _failed([CONTROL, "-d"]) or _failed([sys.executable, "-c", TRY])
        if why:
            self.close()
        return why

    def close(self) -> None:
        if not self.folder:
            return
        _failed([CONTROL], "quit\n")
        del os.environ[PIPE], os.environ[LOG]
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = ""


def _failed(command: list[str], said: str = "") -> str:
    """Why a command did not do what it should; "" if it did."""
    with tempfile.TemporaryFile("w+") as answer:  # no pipe: a service that goes on would hold it open
        try:
            done = subprocess.run(
                command, input=said, stdout=answer, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        answer.seek(0)
        lines = answer.read().strip().splitlines()
    if done.returncode == 0:
        return ""
    return lines[-1] if lines else f"{command[0]} ends with {done.returncode}"
