"""Inside a mount namespace of its own: `python -m tests.crash.full_disk DIR`, DIR being a small tmpfs. Prints what was
refused and how; the test reads it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import scumble.client
from scumble.client import ScumbleError, TextToImage
from tests.crash.harness import Gateway
from tests.soak.soak import noise

JOB = TextToImage("moss", width=16, height=16, seed=1)
LARGE = TextToImage("gated", width=512, height=512, seed=2)
"""Waits, while there is the file `closed`, for the disk to be full."""
PATIENCE = 200


def main(disk: Path) -> None:
    data_dir = disk / "data"
    data_dir.mkdir(mode=0o700)
    gateway = Gateway(data_dir)
    told: dict[str, object] = {}
    token = (data_dir / "token").read_text().strip()
    with scumble.client.connect(gateway.address, token=token) as client:
        early = client.submit(JOB, request_id="early")
        early.result(PATIENCE)
        filler = disk / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(disk)
            file.write(bytes(max(0, free.f_bavail * free.f_frsize - 100_000)))
        try:
            for number in range(8):
                client.upload(noise(number, 200))
        except ScumbleError as error:
            told["upload"] = [error.reason, error.message]
        closed = data_dir / "closed"
        closed.touch()
        running = client.submit(LARGE)
        while not (data_dir / "painting").exists():  # a job cannot even begin on a full disk
            time.sleep(0.01)
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        try:
            client.submit(JOB, request_id="while-full")
        except ScumbleError as error:
            told["job"] = [error.reason, error.message]
        closed.unlink()
        for event in running.watch():
            if event.progress and "waits to be stored" in event.progress.stage:
                break
        told["waiting"] = running.status().state
        filler.unlink()
        told["stored"] = running.result(PATIENCE)[0].pixels.width
        told["after"] = client.submit(JOB, request_id="after").result(PATIENCE)[0].pixels.width
        told["early"] = early.result(PATIENCE)[0].pixels.width
    gateway.stop()
    while subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True).returncode:
        time.sleep(0.1)  # until the worker, which ends after its gateway, has closed its log
    started = subprocess.run(
        [sys.executable, "-m", "core_server", "serve", "--port", "0", "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    told["read_only"] = [started.returncode, started.stderr.strip().splitlines()[-1]]
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
