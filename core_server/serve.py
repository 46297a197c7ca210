"""Runs the gateway from start to clean end: data folder, token, jobs, server, signals."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from core_server import __version__, heap
from core_server.config import ServerConfig
from core_server.errors import NotImplementedHere, StartupError
from core_server.jobs.engine import Engine
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.logs import logging_to
from core_server.rpc import certificate
from core_server.rpc.metrics import MetricsServer
from core_server.rpc.server import GatewayServer
from core_server.rpc.token import TOKEN_FILE
from core_server.rpc.tokens import TokenBook

SERVER_FILE = "server.json"
INTERRUPTED = 130
_MOST_THREADS = 12
"""For files and pictures, as many as asyncio would take; on large machines fewer."""

logger = logging.getLogger(__name__)


async def serve(config: ServerConfig, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM and returns after a clean end; a second signal ends the process at once.

    ready: called with "host:port" once calls are accepted; the worker may still be loading then.
    Errors: StartupError (AddressInUse, InsecureAddress, DataDirInUse), NotImplementedHere for an unknown engine.
    """
    make_data_dir(config.data_dir)
    heap.reuse_blocks(heap.GATEWAY_BLOCK_BYTES, heap.GATEWAY_KEPT_BYTES, heap.GATEWAY_ARENAS)
    with logging_to(config.data_dir, "server", config.limits.max_log_bytes):
        # Bound before anything is started: a taken port costs nothing.
        jobs = JobService(
            config.data_dir, make_engine(config), config.limits, batching=config.batching
        )
        server = GatewayServer(config, jobs, TokenBook(config.data_dir))
        stop = asyncio.Event()
        await _fill_pool()
        with _signals_to(stop):
            await jobs.start()
            metrics: MetricsServer | None = None
            try:
                if config.metrics_port:
                    metrics = MetricsServer(config.metrics_port, jobs)
                await server.start()
                with _announced(config, server.address):
                    _log_start(config, server.address)
                    heap.settle()
                    ready(server.address)
                    await stop.wait()
                    logger.info("Stopping; jobs that wait or run go on at the next start")
            finally:
                if metrics is not None:
                    await asyncio.to_thread(metrics.stop)
                await server.stop()
                await jobs.stop()
        logger.info("Stopped")


async def _fill_pool() -> None:
    """All threads for files and pictures from the start, so that a server that runs for weeks shows what it takes."""
    count = min(_MOST_THREADS, (os.cpu_count() or 1) + 4)
    pool = ThreadPoolExecutor(count, thread_name_prefix="files")
    asyncio.get_running_loop().set_default_executor(pool)
    together = threading.Barrier(count)  # a pool makes a thread only while none is free
    await asyncio.gather(*(asyncio.to_thread(together.wait) for _ in range(count)))


def make_engine(config: ServerConfig) -> Engine:
    """The engine that `config.engine` names."""
    if config.engine == "local":
        return LocalEngine(config)
    if config.engine == "ray":
        raise NotImplementedHere(
            "This version of the server has no Ray engine; leave --engine out, or say --engine local."
        )
    raise StartupError(f"There is no engine {config.engine!r}; use --engine local.")


def make_data_dir(data_dir: Path) -> None:
    """Makes the data folder, for its owner only. Errors: StartupError."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name != "nt":
            _close_to_others(data_dir)
    except OSError as error:
        raise StartupError(
            f"The data folder {data_dir} cannot be used ({error.strerror}). Choose another one with --data-dir."
        ) from error


def _close_to_others(data_dir: Path) -> None:
    """Closes a folder that is ours: one that is empty or has a token. Others are left alone, with a warning."""
    if not stat.S_IMODE(data_dir.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return
    if (data_dir / TOKEN_FILE).exists() or not any(data_dir.iterdir()):
        data_dir.chmod(0o700)
        return
    logger.warning(
        "Other users of this computer can look into the data folder %s; close it with `chmod 700`, or choose another.",
        data_dir,
    )


def _log_start(config: ServerConfig, address: str) -> None:
    logger.info(
        "Scumble %s listens on %s",
        __version__,
        address,
        extra={"data_dir": str(config.data_dir), "engine": config.engine, "model": config.model},
    )


@contextmanager
def _announced(config: ServerConfig, address: str) -> Iterator[None]:
    """Keeps <data dir>/server.json while the server runs, so that clients find it."""
    path = config.data_dir / SERVER_FILE
    entry = {
        "address": address,
        "pid": os.getpid(),
        "version": __version__,
        "tls": config.speaks_tls,
    }
    if config.tls and config.tls_cert is None:
        entry["certificate"] = certificate.CERTIFICATE_FILE
    draft = path.with_name(f".{SERVER_FILE}.{os.getpid()}")
    draft.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    draft.replace(path)
    try:
        yield
    finally:
        with suppress(
            OSError
        ):  # Windows: somebody reads it right now; clients find out that nobody answers
            path.unlink(missing_ok=True)


@contextmanager
def _signals_to(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`, the second ends the process.

    Outside the main thread Python has no signals; whoever runs a server there cancels it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        loop.call_soon_threadsafe(stop.set)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
