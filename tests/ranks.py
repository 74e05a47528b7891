"""Several processes of this machine that run one function together, as ranks over gloo on loopback."""

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

SECONDS = 200  # on a machine that does much else


def over(worlds: Sequence[int], what: Callable, *given: Any) -> dict[int, list[Any]]:
    """{world: what `what(ranks, *given)` returns on each rank}; an error on one is raised here, and ends the others.

    The same processes are the ranks of one world after the other: to start them takes seconds.
    """
    context = multiprocessing.get_context("spawn")
    ports = {world: _free_port() for world in worlds}
    pipes, processes = [], []
    for rank in range(max(worlds)):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_rank, args=(theirs, rank, ports, what, given), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)
    found: dict[int, Any] = {}
    try:
        while len(found) < len(pipes):
            ready = wait([pipe for rank, pipe in enumerate(pipes) if rank not in found], timeout=SECONDS)
            assert ready, f"the ranks did nothing for {SECONDS} s"
            for pipe in ready:
                assert isinstance(pipe, Connection)
                said, error = pickle.loads(pipe.recv_bytes())
                assert not error, error
                found[pipes.index(pipe)] = said
    finally:
        for process in processes:
            if len(found) < len(pipes):
                process.kill()
            process.join()
    return {world: [found[rank][world] for rank in range(world)] for world in worlds}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _rank(pipe: Connection, rank: int, ports: dict[int, int], what: Callable, given: tuple) -> None:
    import torch
    import torch.distributed as dist

    from distillbias.training.parallel import meet

    torch.set_num_threads(1)
    said, error = {}, ""
    try:
        for world, port in ports.items():
            if rank < world:
                where = {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                os.environ |= {name: str(value) for name, value in where.items()}
                said[world] = what(meet(), *given)
                if dist.is_initialized():
                    dist.destroy_process_group()
    except Exception:
        error = traceback.format_exc()
    pipe.send_bytes(pickle.dumps((said, error)))
