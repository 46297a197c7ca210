"""Configuration: frozen values, passed down. The environment is read in
`data_dir_from_environment` and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import platformdirs

from core_server.ranges import STEPS

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 47110
MIB = 1024 * 1024


def most_of_memory() -> int:
    """Nine tenths of the memory this machine, or the container around us, has."""
    import psutil  # noqa: PLC0415 - `scumble --help` does without it

    total = int(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):  # cgroup v2: Linux alone, and "max" where there is no limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total // 10 * 9


class ContentFilter(StrEnum):
    """What happens to pictures that a small classifier takes for pornographic; see `pipelines.content_filter`."""

    OFF = "off"
    """Nothing is looked at."""
    WARN = "warn"
    """The recipe says so."""
    BLOCK = "block"
    """The job fails, with that as its reason; nothing of the picture leaves the worker, previews included."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What this server takes, holds and does. Every refusal names the limit; all of them can stand in config.toml."""

    max_pixels: int = 4096 * 4096
    """Largest picture, width x height."""
    max_side: int = 16384
    max_steps: int = int(STEPS.high)
    max_count: int = 16
    max_queued_jobs: int = 1000
    max_queued_jobs_per_owner: int = 500
    """Waiting and running jobs of one token."""
    max_calls_per_owner: int = 512
    """Calls of one token at a time, watches included."""
    max_connections: int = 512
    """TCP connections at a time; more are told so, and closed at once where there are far more."""
    max_message_bytes: int = 8 * MIB
    max_upload_bytes: int = 1024 * MIB
    max_prompt_chars: int = 8192
    max_store_bytes: int = 20 * 1024 * MIB
    """Bytes of images kept for finished jobs; the oldest go first."""
    max_result_age_seconds: int = 30 * 24 * 3600
    max_upload_pause_seconds: int = 30
    """An upload that brings nothing for so long is ended."""
    max_stall_seconds: int = 900
    """A job that gives no sign of progress for so long is ended, loading its model included."""
    max_worker_bytes: int = field(default_factory=most_of_memory)
    """Memory of the machine, not of the device, that the worker may use; 0 for no limit."""
    max_idle_seconds: int = 900
    """Without work, after which models leave the device's memory; 0 for never. They are read again when needed."""
    max_live_sessions: int = 8
    """Live sessions at a time; they take turns, frame by frame."""
    max_live_sessions_per_owner: int = 4
    """Of one token."""
    max_live_pixels: int = 2 * MIB
    """Largest canvas and picture of a live session, width x height."""
    max_live_steps: int = 4
    """Denoising steps of a live picture."""
    max_live_hold_seconds: int = 3
    """A waiting job gets the device from live sessions after at most so long."""
    max_live_idle_seconds: int = 600
    """A live session that brings nothing for so long is ended, and so is one whose pictures nobody takes."""
    max_log_bytes: int = 32 * MIB
    """Log kept on disk by each of the two processes."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """Ways to paint faster than stock PyTorch does; each can be switched off. What they bring: docs/benchmarks.md."""

    kernels: bool = True
    """Our own kernels and the fastest attention of the device; they change the last bits of a picture."""
    graphs: bool = True
    """CUDA graphs of the denoiser; they change nothing but the time, and take some of the device's memory."""
    compiled: bool = True
    """Blocks of transformers, compiled by a process of its own while pictures are painted without; kept on disk."""
    processor: bool = True
    """Models that allow it compute in bfloat16 on a processor that has it, by our own blocks."""


@dataclass(frozen=True, slots=True)
class Batching:
    """Several pictures of the same size and settings painted at once, for more pictures a second. Off by default: the
    last bits of a picture then depend on its company, which its recipe tells (`batch`)."""

    pictures: int = 1
    """At most so many at once, of waiting jobs and of one job's variations; 0 and 1 are off."""
    max_pixels: int = 1024 * 1024
    """Of all pictures painted at once, together. It bounds what others wait for, interactive jobs above all: not longer
    than for one such picture. Larger pictures keep a device busy alone."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything `scumble serve` can be told."""

    data_dir: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    """0 takes a free port."""
    model: str = "default"
    """A model id ("default", "tiny" or an installed one), a diffusers folder or a .safetensors file."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    engine: str = "local"
    tls: bool = False
    """With a certificate of the server's own, made on first use; other computers pin it when they are paired."""
    tls_cert: Path | None = None
    """A certificate of the studio's, PEM, instead of our own; `tls_key` is its key."""
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """Authorities, PEM: only clients with a certificate of theirs get through to the token check (mutual TLS)."""
    content_filter: ContentFilter = ContentFilter.OFF
    content_filter_percent: int = 80
    """The rating, 0 (harmless) to 100, from which the filter acts."""
    metrics_port: int = 0
    """OpenMetrics on http://127.0.0.1:<port>/metrics; 0 for none."""
    runtime_factory: str = "core_server.pipelines.runtime:create_runtime"
    """"module:function" called in the worker with (model, device, data_dir, tiers) to make its `Runtime`."""
    limits: Limits = field(default_factory=Limits)
    tiers: Tiers = field(default_factory=Tiers)
    batching: Batching = field(default_factory=Batching)

    @property
    def speaks_tls(self) -> bool:
        """Whether calls are encrypted."""
        return self.tls or self.tls_cert is not None or self.tls_key is not None


def data_dir_from_environment(environment: Mapping[str, str] | None = None) -> Path:
    """SCUMBLE_DATA_DIR, else the platform's own place for application data."""
    chosen = (os.environ if environment is None else environment).get("SCUMBLE_DATA_DIR")
    return (
        Path(chosen).expanduser()
        if chosen
        else Path(platformdirs.user_data_dir("scumble", appauthor=False))
    )
