"""A whole gateway that breaks where it is told: `python -m tests.crash.gateway DATA_DIR [STEP:NTH:FAULT]`.

FAULT at the NTH time that STEP is reached: "kill" ends the process as kill -9 does, "full" and "closed" raise what a
full and a read-only disk raise, there and everywhere until the harness writes a line to stdin.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from pathlib import Path

from core_server.config import ServerConfig
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.rpc.server import GatewayServer
from core_server.rpc.tokens import TokenBook

RUNTIME = "tests.fakes.runtime:create"


class Faults:
    """Listens to the checkpoints."""

    def __init__(self, order: str) -> None:
        self._step, number, self._fault = order.split(":") if order else ("", "0", "")
        self._number = int(number)
        self._counts: Counter[str] = Counter()
        self._broken = False

    def mend(self) -> None:
        """The disk has room again."""
        self._broken, self._step = False, ""

    def __call__(self, step: str) -> None:
        self._counts[step] += 1
        if step == self._step and self._counts[step] == self._number:
            if self._fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            self._broken = True
        if self._broken and not step.endswith((".committed", ".renamed")):
            self._raise(step)

    def _raise(self, step: str) -> None:
        if step.startswith(("blob", "results")):
            number = errno.ENOSPC if self._fault == "full" else errno.EROFS
            raise OSError(number, os.strerror(number))
        error = sqlite3.OperationalError("broken by the harness")
        error.sqlite_errorcode = (
            sqlite3.SQLITE_FULL if self._fault == "full" else sqlite3.SQLITE_READONLY
        )
        raise error


async def main(data_dir: Path, order: str) -> None:
    faults = Faults(order)
    config = ServerConfig(
        data_dir=data_dir, port=0, model="tiny", device="cpu", runtime_factory=RUNTIME
    )
    engine = LocalEngine(config)
    jobs = JobService(data_dir, engine, config.limits, faults)
    server = GatewayServer(config, jobs, TokenBook(data_dir))
    await jobs.start()
    await server.start()
    await engine.wait_ready()
    print(server.address, engine.worker_pid, flush=True)
    stopped = asyncio.Event()
    threading.Thread(
        target=_listen, args=(asyncio.get_running_loop(), faults, stopped), daemon=True
    ).start()
    await stopped.wait()
    await server.stop(0.1)
    await jobs.stop()


def _listen(loop: asyncio.AbstractEventLoop, faults: Faults, stopped: asyncio.Event) -> None:
    for _ in sys.stdin:
        faults.mend()
    loop.call_soon_threadsafe(stopped.set)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
