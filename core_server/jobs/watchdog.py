"""Looks after a busy worker process: it must go on telling of progress, and must not eat the machine's memory.

Memory is looked at from outside, a few times a second, since a limit on a process's address space (RLIMIT_AS) would
count what CUDA merely reserves. What grows faster than that is met by the kernel, which the worker asks to end it
before any other program (`worker.first_to_go`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import psutil

from core_server.config import Limits
from core_server.errors import OutOfMemory, Stalled, TaskFailed

_POLL_SECONDS = 0.25
_now, _sleep = time.monotonic, asyncio.sleep


START_SECONDS = 120
"""A worker may be quiet at least so long until it is ready, whatever a job may be: the libraries come from a disk that
may be slow, on a machine that may be busy."""


async def verdict(
    pid: int,
    limits: Limits,
    quiet_since: Callable[[], float | None],
    is_ready: Callable[[], bool],
) -> TaskFailed:
    """Returns when the worker must be ended, with the reason for whoever's job it did; else waits for ever.

    quiet_since: when the busy worker last gave a sign (`time.monotonic`); None while it has nothing to do.
    is_ready: whether it has started.
    """
    quiet, sign = 0.0, quiet_since()
    while True:
        began = _now()
        await _sleep(_POLL_SECONDS)
        # When this process stood still, on a starved machine or a sleeping laptop, so did the worker.
        passed = min(_now() - began, 2 * _POLL_SECONDS)
        since = quiet_since()
        quiet, sign = quiet + passed if since == sign else 0.0, since
        if since is None:
            continue
        if is_ready() and quiet > limits.max_stall_seconds:
            return _stalled(limits.max_stall_seconds)
        if not is_ready() and quiet > max(limits.max_stall_seconds, START_SECONDS):
            return _not_started(max(limits.max_stall_seconds, START_SECONDS))
        if limits.max_worker_bytes and _resident_bytes(pid) > limits.max_worker_bytes:
            return _too_large(limits.max_worker_bytes)


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(psutil.Error):  # it has just ended: others notice
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _stalled(seconds: float) -> Stalled:
    return Stalled(
        f"The job gave no sign of progress for {seconds:g} s (max_stall_seconds) and was ended; the server goes on. "
        "Try fewer pixels or another model, or allow more time in the server's configuration.",
        limit="max_stall_seconds",
        seconds=f"{seconds:g}",
    )


def _not_started(seconds: float) -> Stalled:
    return Stalled(
        f"The worker was not ready after {seconds:g} s (max_stall_seconds, at least {START_SECONDS}) and was ended; "
        "the next job starts it again. The server's log and `scumble doctor` have more.",
        limit="max_stall_seconds",
        seconds=f"{seconds:g}",
    )


def _too_large(limit: int) -> OutOfMemory:
    return OutOfMemory(
        f"The job needed more than {limit / 2**30:.1f} GiB of the machine's memory (max_worker_bytes) and was ended; "
        "the server goes on. Make the picture smaller, ask for fewer variations, or take a smaller model.",
        limit="max_worker_bytes",
        value=str(limit),
    )
