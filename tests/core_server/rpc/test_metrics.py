"""What a monitoring system sees, and what it does not."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from core_server.errors import AddressInUse
from core_server.rpc.metrics import MetricsServer
from tests.core_server.rpc.asking import create, text_to_image, watch
from tests.core_server.rpc.gateway import TOKEN, Gateway


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    assert TOKEN not in text
    assert "a-secret-prompt" not in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_counts_follow_the_jobs(gateway: Gateway) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    metrics = MetricsServer(port, gateway.jobs)
    try:
        before = scraped(port)
        for prompt in ("a-secret-prompt", "oom: a-secret-prompt"):
            watch(gateway, create(gateway, text_to_image(prompt)).job_id)
        after = scraped(port)

        def grown(name: str) -> float:
            return after[name] - before.get(name, 0)

        assert grown("scumble_jobs_accepted_total") == 2
        assert grown('scumble_jobs_ended_total{state="succeeded"}') == 1
        assert grown('scumble_jobs_ended_total{state="failed"}') == 1
        assert grown("scumble_job_running_seconds_total") > 0
        assert after["scumble_jobs_active"] == 0
        assert after["scumble_worker_ready"] == 1
        assert after["scumble_store_bytes"] > 0
        figures = [
            after[f'scumble_cache_{it}{{cache="prompts"}}'] for it in ("hits", "misses", "bytes")
        ]
        assert figures == [3, 2, 1024]
        with pytest.raises(AddressInUse, match="--metrics-port"):
            MetricsServer(port, gateway.jobs)
    finally:
        metrics.stop()
    with pytest.raises(OSError, match="refused"):
        scraped(port)
