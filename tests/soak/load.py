"""Many clients at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import scumble.client
from scumble.client import JobState, ScumbleError, TextToImage
from scumble.client.jobs import event_from_message
from scumble.v1 import generation_service_pb2 as messages
from tests.crash.harness import Gateway


@dataclass
class Report:
    """Seconds, one entry a call or event."""

    clients: int
    accepted: int = 0
    succeeded: int = 0
    seconds: float = 0.0
    creating: list[float] = field(default_factory=list)
    delivering: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.clients} clients: {self.accepted} jobs accepted, {self.succeeded} succeeded, "
            f"in {self.seconds:.1f} s\n"
            f"CreateJob {_spread(self.creating)}\nevent delivery {_spread(self.delivering)}\n"
            f"broken: {self.broken or 'none'}"
        )


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds) or [0.0]
    p50, p99 = (ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.99))
    return f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, worst {ordered[-1] * 1000:.1f} ms, of {len(ordered)}"


def run_load(folder: Path, clients: int, jobs: int) -> Report:
    """Every client submits `jobs` jobs and watches each to its end; a gateway with a runtime that paints at once."""
    data_dir = folder / "data"
    data_dir.mkdir(parents=True)
    gateway = Gateway(data_dir)
    report, lock = Report(clients), threading.Lock()
    token = (data_dir / "token").read_text().strip()
    together = threading.Barrier(clients + 1)

    def one(number: int) -> None:
        with scumble.client.connect(gateway.address, token=token, timeout=60) as client:
            together.wait()
            for turn in range(jobs):
                try:
                    _submit_and_watch(client, number * jobs + turn, report, lock)
                except ScumbleError as error:
                    with lock:
                        report.broken.append(f"client {number}: {error}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    try:
        for thread in threads:
            thread.start()
        together.wait()
        started = time.monotonic()
        for thread in threads:
            thread.join()
        report.seconds = time.monotonic() - started
    finally:
        gateway.stop()
    if report.succeeded != clients * jobs:
        report.broken.append("not every job succeeded")
    return report


def _submit_and_watch(
    client: scumble.client.Client, seed: int, report: Report, lock: threading.Lock
) -> None:
    request = TextToImage("moss", width=16, height=16, seed=seed)
    before = time.monotonic()
    job = client.submit(request)
    created = time.monotonic() - before
    delivered = []
    state = None
    for event, sent in _timed(client, job.id):
        delivered.append(sent)
        state = event or state
    with lock:
        report.accepted += 1
        report.creating.append(created)
        report.delivering += delivered
        report.succeeded += state is JobState.SUCCEEDED


def _timed(client: scumble.client.Client, job_id: str) -> list[tuple[JobState | None, float]]:
    """Each event's state and how long after it happened it came; the clocks are one computer's."""
    connection = client._connection
    found = []
    with connection.stream(
        connection.generation.WatchJob,
        messages.WatchJobRequest(job_id=job_id),
        messages.WatchJobResponse,
        120,
    ) as responses:
        began = time.time()
        for response in responses:
            happened = response.event.time.ToNanoseconds() / 1e9
            found.append(
                (event_from_message(response.event).state, time.time() - max(happened, began))
            )
    return found
