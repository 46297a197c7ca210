"""Our Triton kernels, as a module that is an `operations.Operations`. Imported only where Triton is."""

from __future__ import annotations

from core_server.pipelines.tiers.triton_attention import single_head
from core_server.pipelines.tiers.triton_gates import added_up, biased, doubled, geglu
from core_server.pipelines.tiers.triton_joined import joined_norm
from core_server.pipelines.tiers.triton_norms import group_norm
from core_server.pipelines.tiers.triton_time import timed
from core_server.pipelines.tiers.triton_tokens import layer_norm

__all__ = [
    "added_up",
    "biased",
    "doubled",
    "geglu",
    "group_norm",
    "joined_norm",
    "layer_norm",
    "single_head",
    "timed",
]
