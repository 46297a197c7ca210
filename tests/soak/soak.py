"""Many jobs in a row, and what is left of them in memory."""

from __future__ import annotations

import random
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import scumble.client
from scumble.client import (
    ColorSpace,
    ImageToImage,
    Job,
    JobState,
    Pixels,
    Request,
    SampleType,
    TextToImage,
)
from tests.real_server import RealServer, running_server

MOST_GROWTH = 0.03
COME_AND_GO = 8
"""Handles and threads: a pool grows to its size when first needed, a connection is closed a little after its client
has left. What leaks does so with every job."""
MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """Of one process."""

    memory: int
    handles: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory / MIB:.1f} MiB, {self.handles} handles, {self.threads} threads"


@dataclass
class Report:
    """Usage by process, after the first tenth and at the end."""

    jobs: int = 0
    dropped: int = 0
    cancelled: int = 0
    seconds: float = 0.0
    early: dict[str, Usage] = field(default_factory=dict)
    end: dict[str, Usage] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.jobs} jobs in {self.seconds:.0f} s; {self.dropped} clients dropped and came back, "
            f"{self.cancelled} jobs cancelled"
        ]
        for name, end in self.end.items():
            growth = 100 * (end.memory / self.early[name].memory - 1)
            lines.append(f"{name}: {self.early[name]} early; {end} at the end ({growth:+.1f} %)")
        return "\n".join([*lines, f"broken: {self.broken or 'none'}"])


def usage(server: RealServer) -> dict[str, Usage]:
    """Of gateway and worker."""
    gateway = psutil.Process(server.process.pid)
    workers = [it for it in gateway.children() if "spawn_main" in " ".join(it.cmdline())]
    return {
        name: Usage(_memory(it), it.num_fds(), it.num_threads())
        for name, it in [("gateway", gateway), *(("worker", it) for it in workers)]
    }


def _memory(process: psutil.Process) -> int:
    """What it wrote itself, where the system tells, else what is its alone (USS).

    Of USS a library's pages are a part only while nobody else has it loaded: another program that ends adds 60 to
    140 MiB of torch to it.
    """
    maps = process.memory_maps()
    if not hasattr(maps[0], "anonymous"):
        return int(process.memory_full_info().uss)
    return sum(it.anonymous + it.swap for it in maps)


def run_soak(folder: Path, jobs: int, model: str, size: int, seed: int) -> Report:
    """Runs `jobs` small jobs of both kinds; every fifth client drops, every twentieth job is cancelled."""
    report, chance = Report(), random.Random(seed)
    started = time.monotonic()
    with running_server(folder, model=model) as server:
        client = scumble.client.connect(server.address, token=server.token)
        try:
            for number in range(jobs):
                job = client.submit(_request(size, number))
                if chance.random() < 0.05:
                    job.cancel()
                    report.cancelled += 1
                if chance.random() < 0.2:
                    client = _drop(client, server, job, chance)
                    job = client.job(job.id)
                    report.dropped += 1
                _finish(job, number, report)
                report.jobs += 1
                if number + 1 == max(jobs // 10, 1):
                    report.early = usage(server)
            report.end = usage(server)
        except (scumble.client.ScumbleError, subprocess.SubprocessError) as error:
            report.broken.append(f"job {report.jobs}: {error}")
        finally:
            client.close()
    report.seconds = time.monotonic() - started
    for name, end in report.end.items():
        early = report.early[name]
        if end.memory > early.memory * (1 + MOST_GROWTH):
            report.broken.append(f"the {name} grew by more than {MOST_GROWTH:.0%}")
        if end.handles > early.handles + COME_AND_GO or end.threads > early.threads + COME_AND_GO:
            report.broken.append(f"the {name} holds more handles or threads")
    return report


def noise(seed: int, size: int) -> Pixels:
    """A square nobody else has."""
    data = random.Random(seed).randbytes(size * size * 3)
    return Pixels(data, size, size, 3, SampleType.U8, ColorSpace.SRGB)


def _request(size: int, number: int) -> Request:
    if number % 3 == 2:
        pixels = noise(number, size)
        return ImageToImage("slate", image=pixels, strength=0.5, num_inference_steps=2, seed=number)
    return TextToImage("slate", width=size, height=size, num_inference_steps=2, seed=number)


def _drop(
    client: scumble.client.Client, server: RealServer, job: Job, chance: random.Random
) -> scumble.client.Client:
    """Leaves in the middle of a watch, without a word."""
    events = job.watch()
    for _ in range(chance.randint(1, 3)):
        if next(events, None) is None:
            break
    client.close()
    return scumble.client.connect(server.address, token=server.token)


def _finish(job: Job, number: int, report: Report) -> None:
    last = [event.state for event in job.watch() if event.state][-1:]
    if last == [JobState.SUCCEEDED]:
        job.result(300)
    elif last != [JobState.CANCELLED]:
        report.broken.append(f"job {number} ended {last}")
