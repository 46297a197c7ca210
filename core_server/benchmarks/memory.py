"""The most memory that gateway and worker take, after each kind of work, in one server's life."""

from __future__ import annotations

import tempfile
from pathlib import Path

from core_server.benchmarks.machine import machine_line
from core_server.benchmarks.processes import gateway_process, peak_bytes, worker_process
from core_server.benchmarks.report import Report, Row, at_most
from core_server.benchmarks.setting import Setting
from core_server.benchmarks.timing import noise_picture

WORKER_BYTES = 1.5e9
"""docs/default-model.md: the worker's peak with pictures up to 512 px."""


def run(setting: Setting) -> Report:
    """256 px, 512 px, then a round trip of a large picture. Peaks only rise."""
    from scumble.client import ImageToImage, TextToImage  # noqa: PLC0415

    fresh = setting.need_fresh()
    large = 512 if setting.quick else 2048
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="scumble-bench-") as folder,
        fresh(Path(folder)) as client,
    ):
        gateway = gateway_process(Path(folder))
        for side in (128,) if setting.quick else (256, 512):
            request = TextToImage(
                "grey concrete", side, side, model=setting.model, seamless="xy", seed=1
            )
            client.submit(request).result()
            peak = peak_bytes(worker_process(gateway)) / 1e9
            target = at_most(WORKER_BYTES / 1e9) if setting.model == "default" else None
            rows.append(Row(f"worker after {side} px", peak, "GB", target, headline=True))
        client.download(client.upload(noise_picture(1, large, large)))
        rows.append(
            Row(f"gateway after {large} x {large} RGBA up and down", peak_bytes(gateway) / 1e6, "MB",
                headline=True)
        )  # fmt: skip
        small = noise_picture(2, 256, 256, 3)
        client.submit(ImageToImage("grey concrete", small, model=setting.model, seed=1)).result()
        rows.append(Row("worker at the end", peak_bytes(worker_process(gateway)) / 1e9, "GB"))
        device = client.server_info().device
    return Report("memory", setting.command("memory"), machine_line(device), rows)
