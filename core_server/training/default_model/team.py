"""One process a GPU: gradients are averaged, the first process decides, draws and saves."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Team:
    """This process among all that train together; alone it is the first of one."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process logs and saves."""
        return self.rank == 0

    def average(self, flat: torch.Tensor) -> None:
        """Replace `flat` by its mean over all processes."""
        if self.size > 1:
            distributed.all_reduce(flat)
            flat.div_(self.size)

    def agree(self, value: float, device: str) -> float:
        """The first process's `value`, in all of them; also waits until all have come here."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return float(shared)


def join_team() -> Team:
    """The team that `core_server.training.launch` started, or a team of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team()
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Team(distributed.get_rank(), size)
