"""Steps on a GPU that are recorded as CUDA graphs, each replayed as one launch. None may wait for the device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from distillbias.models.dropout import streams_of

Take = Callable[[], Tensor]  # a step; gives its loss


def recorder(model: nn.Module) -> Callable[[Take, int], Take]:
    streams = streams_of(model)
    pool = torch.cuda.graph_pool_handle()  # one for all: of two graphs never both are under way

    def record(step: Take, _: int) -> Take:
        graph, states = torch.cuda.CUDAGraph(), {stream: stream.get_state() for stream in streams}
        for stream in streams:
            graph.register_generator_state(stream)
        try:
            with torch.cuda.graph(graph, pool=pool):
                loss = step()
        except RuntimeError:
            for stream, state in states.items():  # each believes that it is still being recorded
                stream.graphsafe_set_state(_generator(stream.device, state))
            raise

        def replay() -> Tensor:
            graph.replay()
            return loss

        return replay

    return record


def _generator(device: torch.device, state: Tensor) -> torch.Generator:
    generator = torch.Generator(device)
    generator.set_state(state)
    return generator
