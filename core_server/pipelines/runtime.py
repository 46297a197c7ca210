"""Entry of the worker process: makes the runtime that owns the device."""

from __future__ import annotations

from pathlib import Path

from core_server.config import Tiers
from core_server.pipelines import offline
from core_server.pipelines.task import Runtime


def create_runtime(
    model: str,
    device: str,
    data_dir: Path,
    tiers: Tiers = Tiers(),  # noqa: B008  frozen
) -> Runtime:
    """A runtime for `model` (loaded on first use) on `device`.

    model: see `catalogue`. device: auto, cpu, cuda, cuda:N or mps. tiers: those that may be used.
    Errors: ModelNotFound, ModelLoadFailed for a device that is not there.
    """
    offline.configure()
    # Imports torch and diffusers, which read the environment just set.
    from core_server.pipelines.local_runtime import LocalRuntime  # noqa: PLC0415

    return LocalRuntime(model, device, data_dir, tiers=tiers)
