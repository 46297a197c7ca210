"""The server's processes from outside: which they are and the most memory they have taken."""

from __future__ import annotations

import json
from pathlib import Path

import psutil


def gateway_process(data_dir: Path) -> psutil.Process:
    """The gateway of the server that announced itself in `data_dir`."""
    announced = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
    return psutil.Process(int(announced["pid"]))


def worker_process(gateway: psutil.Process) -> psutil.Process:
    """The process that paints: the gateway's largest child."""
    return max(gateway.children(recursive=True), key=lambda child: child.memory_info().rss)


def peak_bytes(process: psutil.Process) -> int:
    """Most resident memory so far where the system keeps it (Linux, Windows), else the present."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = process.memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
