"""What a worker may not do: hang, and eat the machine's memory."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from core_server.config import MIB, Limits
from core_server.errors import OutOfMemory, Stalled
from core_server.jobs import watchdog
from core_server.jobs.job import JobState
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from tests.core_server.jobs.conftest import config, finished, text_to_image

LIMITS = replace(Limits(), max_stall_seconds=2, max_worker_bytes=400 * MIB)


@pytest.mark.parametrize(
    ("script", "reason", "told"),
    [
        ("hang", Stalled.reason, "no sign of progress for 2 s (max_stall_seconds)"),
        ("eat", OutOfMemory.reason, "of the machine's memory (max_worker_bytes)"),
    ],
)
async def test_only_that_job_is_lost(tmp_path: Path, script: str, reason: str, told: str) -> None:
    service = JobService(tmp_path, LocalEngine(config(tmp_path, LIMITS)), LIMITS)
    await service.start()
    try:
        bad = await service.create("ada", "bad", text_to_image(script))
        good = await service.create("bob", "good", text_to_image())
        ended, _ = await finished(service, bad)
        assert ended.state is JobState.FAILED
        assert ended.failure is not None
        assert ended.failure.reason == reason
        assert told in ended.failure.message
        assert ended.attempts == 1, "it would do so again"
        after, _ = await finished(service, good)
        assert after.state is JobState.SUCCEEDED
    finally:
        await service.stop()


async def test_a_slow_job_that_gives_signs_is_left_alone(tmp_path: Path) -> None:
    service = JobService(tmp_path, LocalEngine(config(tmp_path, LIMITS)), LIMITS)
    await service.start()
    try:
        job = await service.create("ada", "slow", text_to_image("slow"))  # steps of 20 ms
        async with aclosing(service.watch("ada", job.job_id, 0)) as events:
            async for event in events:
                assert event.state is not JobState.FAILED
                if event.progress is not None and event.progress.step >= 150:
                    await service.cancel("ada", job.job_id)
        assert (await service.get("ada", job.job_id)).state is JobState.CANCELLED
    finally:
        await service.stop()


async def test_a_pause_of_everything_is_no_ones_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop that sleeps, a machine that is starved: the worker had no time to tell anything either."""
    now = [0.0]

    async def an_hour(_: float) -> None:
        now[0] += 3600
        await asyncio.sleep(0)

    monkeypatch.setattr(watchdog, "_now", lambda: now[0])
    monkeypatch.setattr(watchdog, "_sleep", an_hour)
    limits = replace(LIMITS, max_worker_bytes=0)
    looks: list[None] = []

    def quiet_since() -> float:
        looks.append(None)
        return 1.0

    error = await watchdog.verdict(0, limits, quiet_since, lambda: True)
    assert isinstance(error, Stalled)
    assert len(looks) > limits.max_stall_seconds, "not at the first look, an hour later"


async def test_an_idle_worker_may_be_quiet(tmp_path: Path) -> None:
    engine = LocalEngine(config(tmp_path, LIMITS))
    await engine.start()
    await engine.wait_ready()
    first = engine.worker_pid
    await asyncio.sleep(2.6)
    assert engine.worker_pid == first
    await engine.stop()


async def test_a_worker_that_never_gets_ready_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUMBLE_FAKE_START", "hang")
    monkeypatch.setattr("core_server.jobs.watchdog.START_SECONDS", 2)
    engine = LocalEngine(config(tmp_path, LIMITS))
    await engine.start()
    with pytest.raises(Stalled, match="max_stall_seconds"):
        async with asyncio.timeout(90):
            await engine.wait_ready()
    await engine.stop()
