"""Eight jobs of several clients in one server with `[batching]` on, and in one with it off, on the real tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import scumble.client
from scumble.client import Client, Job, JobState, TextToImage
from tests.real_server import RealServer, running_server

DECIBELS = 40.0
SIDE, STEPS = 64, 3
JOBS = 8


def ask(number: int) -> TextToImage:
    return TextToImage(f"moss number {number}", SIDE, SIDE, seed=number, num_inference_steps=STEPS)


def submitted(clients: list[Client]) -> tuple[Job, list[Job]]:
    """A job that is on the device until it is cancelled, and eight that wait behind it."""
    first = clients[0].submit(TextToImage("long", SIDE, SIDE, num_inference_steps=1000))
    for event in first.watch():
        if event.progress is not None and event.progress.step:
            break
    return first, [clients[n % len(clients)].submit(ask(n)) for n in range(JOBS)]


def painted(server: RealServer, data_dir: Path) -> list[tuple[npt.NDArray[np.float32], int]]:
    """The pictures of the eight in their order, and how many each was painted with."""
    clients = [scumble.client.connect(data_dir=data_dir) for _ in range(4)]
    try:
        first, jobs = submitted(clients)
        first.cancel()
        patches = [job.result()[0] for job in jobs]
        assert first.status().state is JobState.CANCELLED
    finally:
        for client in clients:
            client.close()
    return [
        (patch.pixels.numpy().astype(np.float32), int(patch.recipe.get("batch", 1)))
        for patch in patches
    ]


def test_eight_jobs_of_four_clients(tmp_path: Path) -> None:
    """Off by default, where the bits are those of single pictures; on, they are nearly so."""
    with running_server(tmp_path / "off") as server:
        plain = painted(server, tmp_path / "off")
        with scumble.client.connect(data_dir=tmp_path / "off") as client:
            alone = [client.submit(ask(n)).result()[0].pixels.numpy() for n in range(JOBS)]
    assert [count for _, count in plain] == [1] * JOBS
    for (picture, _), single in zip(plain, alone, strict=True):
        assert np.array_equal(picture, single)

    (tmp_path / "on").mkdir(mode=0o700)
    (tmp_path / "on" / "config.toml").write_text("[batching]\npictures = 4\n", encoding="utf-8")
    with running_server(tmp_path / "on") as server:
        together = painted(server, tmp_path / "on")
    assert [count for _, count in together] == [4] * JOBS
    for (picture, _), single in zip(together, alone, strict=True):
        error = float(np.mean((picture - single) ** 2))
        assert error <= 255**2 / 10 ** (DECIBELS / 10)
