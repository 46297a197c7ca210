"""Rounds of breaking a server in the middle of its work, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import scumble.client
from core_server.jobs.checkpoints import BLOB_STEPS, STEPS
from scumble.client import (
    FailedPrecondition,
    ImageToImage,
    JobState,
    LimitExceeded,
    NotRunning,
    Pixels,
    ScumbleError,
    TextToImage,
    Unavailable,
)

Answer = TypeVar("Answer")

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
FAULTS = (
    "gateway",
    "worker",
    "both",
    "at a step",
    "at a step",
    "full disk",
    "read-only disk",
    "poison",
)
PREAMBLE = struct.Struct("<8sIQ")
"""Of a blob's file; written here once more, as a witness that does not trust the store."""


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Report:
    """What happened in all rounds."""

    rounds: int = 0
    accepted: int = 0
    refused: int = 0
    repeated: int = 0
    """Calls made again because the server was too busy to answer in time, or was just being broken."""
    ended: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    blobs: int = 0
    slowest_start: float = 0.0

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {state}" for state, count in sorted(self.ended.items()))
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        steps = ", ".join(f"{count} {name}" for name, count in sorted(self.steps.items()))
        return (
            f"{self.rounds} rounds: {self.accepted} jobs accepted, none lost and none ended twice ({ended}); "
            f"{self.refused} refused, {self.repeated} calls repeated; "
            f"{self.blobs} stored images checked against their names; slowest start {self.slowest_start:.1f} s\n"
            f"faults: {faults}\nkilled or failed at: {steps}"
        )


class Gateway:
    """One life of the server."""

    def __init__(self, data_dir: Path, order: str = "") -> None:
        started = time.monotonic()
        self.errors = (data_dir.parent / "errors.txt").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.gateway", str(data_dir), order],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if len(words) != 2:
            raise Broken(f"the server did not start (see {self.errors.name})")
        self.address, self.worker = words[0], int(words[1])
        self.start_seconds = time.monotonic() - started

    @property
    def is_dead(self) -> bool:
        """Whether its process has ended."""
        return self.process.poll() is not None

    def mend(self) -> None:
        """The disk has room again."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write("mend\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def kill_worker(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker, signal.SIGKILL)

    def stop(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Broken("the server did not stop") from None
        self._end()

    def _end(self) -> None:
        self.process.wait()
        for file in (self.process.stdout, self.process.stdin, self.errors):
            with contextlib.suppress(OSError):
                file.close()


class Round:
    """One data folder, broken once, looked at, and run to the end."""

    def __init__(self, data_dir: Path, chance: random.Random, report: Report) -> None:
        self.data_dir = data_dir
        self.chance = chance
        self.report = report
        self.accepted: dict[str, str] = {}
        """Job ids by request id, as CreateJob answered."""
        self.scripts: dict[str, str] = {}

    def run(self, fault: str = "", step: str = "") -> None:
        """fault, step: chosen by chance if not given."""
        fault = fault or self.chance.choice(FAULTS)
        self.report.faults[fault] += 1
        order = self._order(fault, step)
        gateway = Gateway(self.data_dir, order)
        breaking = threading.Thread(target=self._break, args=(fault, gateway), daemon=True)
        try:
            with self._client(gateway) as client:
                breaking.start()
                self._submit(
                    gateway, client, 2 if fault == "poison" else self.chance.randint(2, 6), fault
                )
                breaking.join(SECONDS)
                if fault in ("full disk", "read-only disk"):
                    time.sleep(self.chance.random())
                    gateway.mend()
        finally:
            gateway.kill()
        self._check_blobs()
        self._finish()

    def _order(self, fault: str, step: str) -> str:
        kind = {"at a step": "kill", "full disk": "full", "read-only disk": "closed"}.get(fault)
        if kind is None:
            return ""
        step = step or self.chance.choice(STEPS)
        self.report.steps[step] += 1
        most = 3 if step in BLOB_STEPS or step == "results.kept" else 6
        return f"{step}:{self.chance.randint(1, most)}:{kind}"

    def _client(self, gateway: Gateway) -> scumble.client.Client:
        token = (self.data_dir / "token").read_text().strip()
        return self._patiently(
            gateway, lambda: scumble.client.connect(gateway.address, token=token)
        )

    def _patiently(self, gateway: Gateway, call: Callable[[], Answer]) -> Answer:
        """What every client may do, and a good one does: UNAVAILABLE is tried again while there is a server.

        All calls here are safe to repeat: CreateJob knows its request_id. Errors: those of the call, NotRunning and
        Unavailable once the server is dead or has been silent for too long.
        """
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return call()
            except (NotRunning, Unavailable):
                if gateway.is_dead or time.monotonic() > deadline:
                    raise
                self.report.repeated += 1
            time.sleep(0.1)

    def _submit(
        self, gateway: Gateway, client: scumble.client.Client, count: int, fault: str
    ) -> None:
        for number in range(count):
            script = self.chance.choice(["moss", "moss", "previews", "echo", "oom"])
            if fault == "poison" and number == 0:
                script = "crash"
            name = f"wish-{number}"
            request = self._request(script, number)
            try:
                job = self._patiently(gateway, partial(client.submit, request, request_id=name))
            except (NotRunning, Unavailable):
                self.report.refused += 1
                return
            except (LimitExceeded, FailedPrecondition) as full:
                if fault not in ("full disk", "read-only disk"):
                    raise Broken(f"{name} was refused: {full}") from full
                self.report.refused += 1
                continue
            self.accepted[name], self.scripts[name] = job.id, script
            self.report.accepted += 1
            if self.chance.random() < 0.3:
                time.sleep(self.chance.random() * 0.1)

    def _request(self, script: str, number: int) -> scumble.client.Request:
        if script == "echo":
            pixels = Pixels(self.chance.randbytes(16 * 8 * 3), 16, 8, 3, "u8", "srgb")
            return ImageToImage(script, image=pixels, seed=number)
        return TextToImage(script, width=16, height=8, seed=number)

    def _break(self, fault: str, gateway: Gateway) -> None:
        if fault in ("gateway", "worker", "both"):
            time.sleep(self.chance.random() * 0.6)
            if fault != "gateway":
                gateway.kill_worker()
            if fault != "worker":
                gateway.process.kill()
        elif fault == "at a step":
            with contextlib.suppress(subprocess.TimeoutExpired):
                gateway.process.wait(2)
        elif fault == "poison":
            time.sleep(self.chance.random() * 2)

    def _finish(self) -> None:
        """A sound server on the same folder brings every accepted job to its end."""
        gateway = Gateway(self.data_dir)
        self.report.slowest_start = max(self.report.slowest_start, gateway.start_seconds)
        try:
            with self._client(gateway) as client:
                for name, job_id in self.accepted.items():
                    self._check_job(gateway, client, name, job_id)
                self._check_repeating(gateway, client)
        finally:
            gateway.stop()
        self._check_blobs()
        self._check_database()

    def _check_job(
        self, gateway: Gateway, client: scumble.client.Client, name: str, job_id: str
    ) -> None:
        job, script = client.job(job_id), self.scripts[name]
        with contextlib.suppress(ScumbleError):
            self._patiently(gateway, lambda: job.result(SECONDS))
        status = self._patiently(gateway, job.status)
        self.report.ended[f"{status.state}"] += 1
        if not status.state.is_final:
            raise Broken(f"{name} ({script}) is still {status.state}")
        if status.attempts > 2:
            raise Broken(f"{name} was started {status.attempts} times")
        if script in ("moss", "previews", "echo"):
            crashed = status.error is not None and status.error.reason == "WORKER_CRASHED"
            if status.state is not JobState.SUCCEEDED and not (crashed and status.attempts == 2):
                raise Broken(f"{name} ({script}) ended {status.state}: {status.error}")
        elif status.state is not JobState.FAILED:
            raise Broken(f"{name} ({script}) ended {status.state}")
        if status.state is JobState.SUCCEEDED:
            [patch] = self._patiently(gateway, job.result)
            if (patch.pixels.width, patch.pixels.height) != (16, 8):
                raise Broken(f"{name} has a picture of another size")

    def _check_repeating(self, gateway: Gateway, client: scumble.client.Client) -> None:
        moss = self._request("moss", 0)
        for name, job_id in self.accepted.items():
            again = self._patiently(gateway, partial(client.submit, moss, request_id=name))
            if again.id != job_id:
                raise Broken(f"{name} became a second job")

    def _check_blobs(self) -> None:
        """Whatever has an image's name is whole: the name is the hash of what is inside."""
        for path in (self.data_dir / "blobs").glob("??/*"):
            if path.suffix == ".part":
                continue
            data = path.read_bytes()
            magic, head, size = PREAMBLE.unpack_from(data)
            body = data[PREAMBLE.size :]
            whole = magic == b"SCUMBLE1" and len(body) == head + size
            if not whole or hashlib.sha256(body).hexdigest() != path.name:
                raise Broken(f"the image {path.name} is not whole")
            self.report.blobs += 1

    def _check_database(self) -> None:
        """Seen without our own code: sound, nobody twice at the end, every result's image there."""
        with contextlib.closing(sqlite3.connect(self.data_dir / "jobs.sqlite3")) as database:
            if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise Broken("the database is damaged")
            if database.execute("PRAGMA foreign_key_check").fetchall():
                raise Broken("the database refers to what is not there")
            ends = database.execute(
                "SELECT job_id, count(*) FROM events WHERE json_extract(body, '$.state') "
                "IN ('succeeded', 'failed', 'cancelled') GROUP BY job_id HAVING count(*) <> 1"
            ).fetchall()
            if ends:
                raise Broken(f"ended more than once: {ends}")
            results = database.execute(
                "SELECT state, image_id FROM results JOIN jobs USING (job_id)"
            ).fetchall()
        for state, image_id in results:
            if (
                state != "succeeded"
                or not (self.data_dir / "blobs" / image_id[:2] / image_id).exists()
            ):
                raise Broken(f"a {state} job shows the image {image_id}")


def run_rounds(folder: Path, rounds: int, seed: int, first: int, report: Report) -> None:
    """Breaks `rounds` servers below `folder`, from round `first` on, and removes what they leave.

    Errors: Broken, with the round's number and seed; its folder stays.
    """
    for number in range(first, first + rounds):
        data_dir = folder / f"round-{number}" / "data"
        data_dir.mkdir(parents=True)
        try:
            Round(data_dir, random.Random(f"{seed}/{number}"), report).run()
        except Exception as error:
            raise Broken(
                f"round {number} of seed {seed} in {data_dir}: {type(error).__name__}: {error}"
            ) from error
        shutil.rmtree(data_dir.parent)
        report.rounds += 1
