"""One training step as a CUDA graph: the processor launches it once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from core_server.errors import on_one_line

Tensor = torch.Tensor
_REHEARSALS = 3  # let libraries choose their kernels and allocate before anything is recorded


def bind_gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Give every parameter a gradient that stays where it is, which a recorded step needs."""
    gradients = []
    for p in parameters:
        p.grad = torch.zeros_like(p)
        gradients.append(p.grad)
    return gradients


class GraphedStep:
    """Calls `step` or, on a GPU that can record it, replays its kernels.

    `step()` reads tensors that stay in place, adds to gradients that stay in place and returns its
    loss without a graph. Where recording fails, `step` runs plainly and the log says why. Recording
    runs `step` a few times: gradients are garbage afterwards until the caller clears them.
    """

    def __init__(
        self, step: Callable[[], Tensor], device: str, log: Callable[..., None], name: str
    ) -> None:
        self._step = step
        self._graph: torch.cuda.CUDAGraph | None = None
        self._loss = torch.zeros((), device=device)
        if torch.device(device).type != "cuda":
            return
        try:
            self._record()
        except RuntimeError as error:
            self._graph = None
            torch.cuda.synchronize()
            log("no CUDA graph", step=name, why=on_one_line(error))
        else:
            log("CUDA graph", step=name)

    @property
    def recorded(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def _record(self) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_REHEARSALS):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Thread-local: the watchdog of NCCL asks for events meanwhile, from its own thread.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            self._loss = self._step()
        self._graph = graph

    def __call__(self) -> Tensor:
        """The loss, as a tensor that the next call overwrites."""
        if self._graph is None:
            return self._step()
        self._graph.replay()
        return self._loss
