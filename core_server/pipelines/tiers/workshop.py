"""Which tiers a runtime uses: what all of its models share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core_server.config import Tiers
from core_server.pipelines import devices
from core_server.pipelines.tiers.attention import best_attention
from core_server.pipelines.tiers.compiled import Programs
from core_server.pipelines.tiers.compiled_builder import BlockCompiler, can_compile
from core_server.pipelines.tiers.graphs import Backend
from core_server.pipelines.tiers.operations import Operations
from core_server.pipelines.tiers.packed import packs_convolutions
from core_server.pipelines.tiers.processor_unet import processor_dtype
from core_server.pipelines.tiers.row_trials import row_operations
from core_server.pipelines.tiers.scaled_rows import RowOperations
from core_server.pipelines.tiers.trials import fast_operations


@dataclass(frozen=True, slots=True, eq=False)
class Workshop:
    """What all models of a runtime share.

    operations: None for stock PyTorch; attention: as `best_attention` says; backend: None for no graphs; processor:
    what models that allow it compute in on a processor, None for stock PyTorch; rows: what computes in 8 bit on a
    device, as `row_operations` says.
    """

    operations: Operations | None = None
    attention: str = ""
    backend: Backend | None = None
    processor: torch.dtype | None = None
    rows: Callable[[torch.device, str], RowOperations] = row_operations
    compiler: Programs | None = None
    """Programs for the blocks of transformers."""


def make_workshop(
    device: torch.device, dtype: torch.dtype, tiers: Tiers, folder: Path | None = None
) -> Workshop:
    """What `device` can do of the tiers that are switched on. dtype: what its models compute in. folder: where compiled
    programs are kept; None for no compiler."""
    workshop = _uncompiled(device, dtype, tiers)
    if not tiers.compiled or folder is None or not can_compile(device):
        return workshop
    return replace(workshop, compiler=BlockCompiler(device, folder, workshop.attention))


def _uncompiled(device: torch.device, dtype: torch.dtype, tiers: Tiers) -> Workshop:
    backend: Backend | None = None
    if tiers.graphs and device.type == "cuda" and torch.version.hip is None:
        from core_server.pipelines.tiers.cuda_graphs import CudaGraphs  # noqa: PLC0415

        backend = CudaGraphs(device)
    if device.type == "cpu":
        if not tiers.processor:
            return Workshop()
        packs = packs_convolutions(torch.float32)
        return Workshop(processor=processor_dtype(bfloat16=devices.has_bfloat16(), packs=packs))
    if not tiers.kernels:
        return Workshop(backend=backend)
    return Workshop(fast_operations(device), best_attention(device, dtype), backend)
