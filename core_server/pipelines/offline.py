"""The worker's environment: no network, no foreign code, no chatter. Must run before torch is imported."""

from __future__ import annotations

import os
from pathlib import Path

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "true",
    "TOKENIZERS_PARALLELISM": "false",
    # What Apple's Metal lacks runs on the CPU instead of failing.
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",
}


def configure() -> None:
    """Sets the process's environment variables. Overrides what was there: offline is a promise, not a default."""
    os.environ.update(_ENVIRONMENT)
    # OpenMP's threads spin while they wait; beside a host application on the same cores that costs up to 20 times.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # A few turns before they sleep (GNU's OpenMP, on Linux) spare most sleeps and cost nobody anything.
        os.environ.setdefault("GOMP_SPINCOUNT", "300")
    quota = _cpu_quota()
    if quota is not None and "OMP_NUM_THREADS" not in os.environ:
        # OpenMP counts the machine's cores; in a container with a CPU quota that many threads only hinder each other.
        os.environ["OMP_NUM_THREADS"] = str(quota)


def _cpu_quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Whole CPUs that a Linux container may use; None without a quota."""
    try:
        share, period = file.read_text(encoding="ascii").split()
        return None if share == "max" else max(1, int(share) // int(period))
    except (OSError, ValueError):
        return None
