"""To a Ray cluster and back; what can be wrong with it is one line."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from distillbias.errors import InputError

AUTO = "auto"  # $RAY_ADDRESS, else the cluster that this machine is a node of
ANSWER = 5.0  # seconds that an address has to answer


def import_ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed here; pip install 'distillbias[ray]', on every node") from None
    return ray


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Ray, connected to the cluster at `address`. Where this process was connected to it before, it stays so."""
    ray = import_ray()
    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if address not in (AUTO, there):
            raise InputError(f"address {address!r}; this process is connected to the Ray cluster at {there}")
        yield ray
        return
    _connect(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def clear_errors(ray: ModuleType, address: str) -> Iterator[None]:
    """Turn what a cluster that is lost answers into one line."""
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        why = _line(error)
        raise InputError(
            f"lost the Ray cluster at {address} ({why}); what is finished is kept, the same command goes on from there"
        ) from None


def _connect(ray: ModuleType, address: str) -> None:
    _check_answers(address)
    try:
        with _handlers_kept():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"no Ray cluster can be used at {address!r}: {_line(error)}") from None


def _check_answers(address: str) -> None:
    """Ray itself would try for a minute, and then end this process."""
    address = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    if address == AUTO:
        return
    host, colon, port = address.rpartition(":")
    if not (host and port.isdigit()) or "/" in address:
        raise InputError(f"address {address!r}; that of a Ray cluster is HOST:PORT of its head node, or {AUTO}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"no Ray cluster answers at {address}: {why}; `ray start --head` begins one") from None


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray handles SIGTERM by leaving at once; a command that trains lets runs write a checkpoint first."""
    main = threading.current_thread() is threading.main_thread()
    usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield
    finally:
        for each, how in usual.items():
            signal.signal(each, how)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
