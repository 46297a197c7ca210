"""What a crash may cost: never an accepted job."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import scumble.client
from scumble.client import JobState, TextToImage
from tests.real_server import RealServer, running_server, start_server

SLOW = TextToImage(prompt="slate", width=64, height=64, num_inference_steps=1000, seed=1)
QUICK = TextToImage(prompt="slate", width=64, height=64, num_inference_steps=2, seed=1)


def kill_worker(server: RealServer) -> bool:
    """kill -9 of the gateway's worker process; False while there is none."""
    listing = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    workers = [int(line.split()[0]) for line in listing if "spawn_main" in line]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    return bool(workers)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 and ps are POSIX")
def test_worker_killed_twice_then_next_job_works(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as server,
        scumble.client.connect(server.address, token=server.token) as client,
    ):
        job = client.submit(SLOW)
        kills = 0
        for event in job.watch():
            # Progress of an attempt is told from a late event of the one before by its count.
            fresh = event.progress and event.progress.step and job.status().attempts == kills + 1
            if fresh and kills < 2:
                kills += kill_worker(server)
        assert kills == 2
        with pytest.raises(scumble.client.WorkerCrashed):
            job.result()
        assert job.status().attempts == 2
        [patch] = client.submit(QUICK).result(timeout=300)
        assert patch.pixels.width == 64


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_gateway_killed_keeps_every_accepted_job(tmp_path: Path) -> None:
    first = start_server(tmp_path)
    with scumble.client.connect(first.address, token=first.token) as client:
        slow = client.submit(SLOW)
        waiting = [client.submit(QUICK, request_id=f"wish-{n}") for n in range(3)]
        for event in slow.watch():
            if event.progress and event.progress.step:
                first.kill()
                break
    with (
        running_server(tmp_path) as second,
        scumble.client.connect(second.address, token=second.token) as client,
    ):
        client.job(slow.id).cancel()
        patches = [client.job(job.id).result(timeout=300)[0] for job in waiting]
        repeated = client.submit(QUICK, request_id="wish-0")
        assert repeated.id == waiting[0].id
        assert client.job(slow.id).status().state in (JobState.CANCELLED, JobState.QUEUED)
    assert len({patch.pixels.tobytes() for patch in patches}) == 1
