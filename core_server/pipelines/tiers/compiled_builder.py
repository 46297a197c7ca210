"""Programs for blocks: asked for by the worker, compiled by another process, loaded while nothing is painted.

Nothing here delays a picture: whoever paints asks, goes on as ever, and finds the program at some later picture.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from core_server.errors import on_one_line
from core_server.pipelines import devices
from core_server.pipelines.tiers.compiled_build import BUILDING, request
from core_server.pipelines.tiers.compiled_graph import LONE
from core_server.pipelines.tiers.compiled_orders import Order
from core_server.pipelines.tiers.compiled_store import ProgramStore
from core_server.pipelines.tiers.trials import has_triton

log = logging.getLogger(__name__)

MAX_PROGRAMS = 64
"""Asked for by one process; a size that comes later is painted as ever."""
NEEDED_BYTES = 3 * 1024**3
"""Free memory, of the device and of the machine, without which nothing is compiled: for CUDA, libraries, a block."""
_TIMEOUT_SECONDS = 1800.0
_LEFT_SECONDS = 24 * 3600.0
_PATIENCE_SECONDS = 60.0
"""How long a program that is ready waits for a moment without work."""

Tensors = list[torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled block. results: how they look, as `compiled_graph.traced` says."""

    function: Callable[..., Sequence[torch.Tensor]]
    results: str

    def __call__(self, tensors: Tensors) -> Any:
        """tensors: the block's weights, then its arguments' tensors."""
        found = iter(self.function(*tensors))
        if self.results == LONE:
            return next(found)
        return tuple(next(found) if it == LONE else None for it in self.results[1:])


class BlockCompiler:
    """All programs of a worker. The painting thread calls it; a thread of its own does what takes long."""

    def __init__(
        self,
        device: torch.device,
        folder: Path,
        attention: str = "",
        budget: Callable[[torch.device], devices.Memory] = devices.memory_of,
    ) -> None:
        """folder: where programs are kept. attention: as in `attention_by`. budget: the memory there is."""
        self._device = device
        self._attention = attention
        self._budget = budget
        self._store = ProgramStore(folder)
        self._programs: dict[str, Program] = {}
        self._asked: set[str] = set()
        self._failed: set[str] = set()
        self._orders: queue.SimpleQueue[Sequence[Order] | None] = queue.SimpleQueue()
        self._quiet = threading.Event()
        self._quiet.set()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = self._stopped = self._told_room = False
        self._thread = threading.Thread(target=self._work, name="compile", daemon=True)
        self.compiled_by = _versions(device, attention)

    def program(self, digest: str) -> Program | None:
        """A program that is ready."""
        return self._programs.get(digest)

    def is_settled(self, digest: str) -> bool:
        """Whether nothing more will come of an order."""
        return digest in self._programs or digest in self._failed

    def is_asked(self, digest: str) -> bool:
        """Whether somebody asked for it, or it was refused."""
        return digest in self._asked or digest in self._failed

    def is_refused(self, digest: str) -> bool:
        """Whether there will never be such a program."""
        return digest in self._failed

    def is_wanted(self, digest: str, *, often: bool) -> bool:
        """Whether `ask` would do something. often: whether it is worth compiling, not only loading."""
        if self.is_asked(digest) or len(self._asked) >= MAX_PROGRAMS or self._closed:
            return False
        return often or self._store.results(digest) is not None

    def ask(self, orders: Sequence[Order]) -> None:
        """Returns at once. What is asked for together comes together."""
        if not orders or self._closed:
            return
        if not self._thread.is_alive():
            self._thread.start()
        self._asked |= {order.digest for order in orders}
        self._orders.put(orders)

    def refuse(self, digest: str) -> None:
        """It gave other numbers: never again in this process, nor from this folder."""
        self._programs.pop(digest, None)
        self._failed.add(digest)
        self._store.drop(digest)

    @contextmanager
    def painting(self) -> Iterator[None]:
        """Within the context nothing new is loaded."""
        self._quiet.clear()
        try:
            yield
        finally:
            self._quiet.set()

    def stop(self) -> None:
        """Ends what is under way, for its memory; it may be asked for again."""
        if (process := self._process) is not None:
            self._stopped = True
            with suppress(OSError):
                process.kill()

    def close(self) -> None:
        """Ends for good."""
        self._closed = True
        self._orders.put(None)
        self.stop()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        self._sweep()
        while (orders := self._orders.get()) is not None:
            try:
                self._do(orders)
            except Exception as error:  # noqa: BLE001  whatever it is, pictures are painted as ever
                log.warning("Nothing was compiled: %s", on_one_line(error))
                self._failed |= {order.digest for order in orders} - set(self._programs)

    def _sweep(self) -> None:
        """Removes what compilers left behind that did not come to their end. Another process may be at work there."""
        with suppress(OSError):
            for left in (self._store.folder / BUILDING).iterdir():
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def _do(self, orders: Sequence[Order]) -> None:
        missing = [it for it in orders if self._store.results(it.digest) is None]
        if missing:
            if not self._has_room():
                if not self._told_room:
                    log.info("Too little memory is free to compile blocks.")
                self._asked -= {order.digest for order in orders}
                self._told_room = True
                return
            self._stopped = False
            self._compile(missing)
            if self._stopped:
                self._asked -= {order.digest for order in orders}
                return
        ready = {}
        for order in orders:
            results = self._store.results(order.digest)
            if results is None:
                self._failed.add(order.digest)
                continue
            self._quiet.wait(_PATIENCE_SECONDS)
            try:
                ready[order.digest] = Program(self._load(order.digest), results)
            except Exception as error:  # noqa: BLE001  another version wrote it, or half of it is gone
                log.warning("A compiled block cannot be read: %s", on_one_line(error))
                self._store.drop(order.digest)
                self._failed.add(order.digest)
        self._programs |= ready
        self._store.trim(frozenset(self._programs))

    def _load(self, digest: str) -> Callable[..., Sequence[torch.Tensor]]:
        from torch._inductor.standalone_compile import CompiledArtifact  # noqa: PLC0415

        self._store.touch(digest)
        program: Any = CompiledArtifact.load(path=str(self._store.code(digest)), format="unpacked")
        loaded: Callable[..., Sequence[torch.Tensor]] = program
        return loaded

    def _has_room(self) -> bool:
        places = {self._device, torch.device("cpu")}
        return all(self._budget(place).free >= NEEDED_BYTES for place in places)

    def _compile(self, orders: Sequence[Order]) -> None:
        folder = self._store.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-m", "core_server.pipelines.tiers.compiled_build"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )  # fmt: skip
        self._process = process
        clock = threading.Timer(_TIMEOUT_SECONDS, process.kill)
        clock.daemon = True
        clock.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            # Not closed until the process is done: it ends with its standard input.
            process.stdin.write(request(orders, folder, str(self._device), self._attention))
            process.stdin.flush()
            told = [json.loads(line) for line in process.stdout if line.startswith(b"{")]
        finally:
            clock.cancel()
            process.kill()
            process.communicate()
            self._process = None
        if self._stopped:
            return
        failures = [it["failure"] for it in told if it["failure"]]
        if len(told) < len(orders):
            failures.append(f"the compiler ended with {process.returncode}")
        if failures:
            log.warning("Painted as ever, since it could not be compiled: %s", failures[0])
        if done := len(told) - len([it for it in told if it["failure"]]):
            seconds = sum(it["seconds"] for it in told)
            log.info("Compiled %d kinds of blocks in %.0f s.", done, seconds)


def can_compile(device: torch.device) -> bool:
    """Whether blocks can be compiled for a device: an NVIDIA GPU, with Triton and a PyTorch that keeps programs (2.8).

    Whether there is a C compiler is found out by trying.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    able = has_triton() and _keeps_programs()
    if not able:
        log.info(
            "Blocks of transformers are not compiled: that needs Triton, and PyTorch 2.8 or later."
        )
    return able


def _keeps_programs() -> bool:
    try:
        importlib.import_module("torch._inductor.standalone_compile").CompiledArtifact  # noqa: B018
    except (ImportError, AttributeError):
        return False
    return True


def _versions(device: torch.device, attention: str) -> str:
    def version(name: str) -> str:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
        return ""

    names = ("torch", "triton", "diffusers", "scumble")
    card = ""
    if device.type == "cuda":
        card = f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)}"
    found = [
        torch.__version__,
        *map(version, names),
        platform.machine(),
        sys.version,
        card,
        attention,
    ]
    return "\n".join(found)
