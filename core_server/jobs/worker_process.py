"""The worker seen from the gateway: a spawned process, a thread that reads from it and one that writes to it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import multiprocessing
import queue
import select
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import msgspec

from core_server.config import ServerConfig
from core_server.jobs import messages, worker

_SPAWN = multiprocessing.get_context("spawn")
_CLOSE_SECONDS = 2.0
_KILL_SECONDS = 10.0
_AT_ONCE_BYTES = getattr(select, "PIPE_BUF", 0) - 4
"""What a pipe with room takes without waiting (POSIX, `write`), with the length that `Connection` puts before it."""

log = logging.getLogger(__name__)


class WorkerProcess:
    """One life of the worker. `exited` becomes the sentence that says how it ended.

    `on_message` is called on the event loop, in order, and never after `exited` is done.
    """

    def __init__(
        self, config: ServerConfig, on_message: Callable[[messages.FromWorker], None]
    ) -> None:
        self._config = config
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._commands: Connection | None = None
        self._closing = threading.Lock()
        self._put = self._written = 0
        self._process: SpawnProcess | None = None
        self.exited: asyncio.Future[str] = self._loop.create_future()

    async def start(self) -> None:
        """Returns when the process runs; its runtime is still being made."""
        try:
            await asyncio.to_thread(self._spawn)
        except Exception as error:
            log.exception("The worker process could not be made")
            self._settle(f"the worker process could not be made ({error})")

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid if self._process else None

    def send(self, message: messages.ToWorker) -> None:
        """Never waits; what is sent to a dead worker is lost. On the event loop."""
        data = messages.encode(message)
        if not self._sent_at_once(data):
            self._put += 1
            self._outbox.put(data)

    def _sent_at_once(self, data: bytes) -> bool:
        """Small messages need no thread to wait for room in the pipe: a live picture comes sooner without."""
        if len(data) > _AT_ONCE_BYTES or self._put != self._written:
            return False
        with self._closing, contextlib.suppress(OSError):
            commands = self._commands
            if commands is None or commands.closed:
                return False
            room = select.poll()
            room.register(commands.fileno(), select.POLLOUT)
            if not any(found == select.POLLOUT for _, found in room.poll(0)):
                return False
            commands.send_bytes(data)
        return True

    def kill(self) -> None:
        """Ends the process wherever it is."""
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Lets the process end, kills it if it does not. Only after `start`: before, there is nothing to end."""
        self._put += 1  # nothing overtakes it
        self._outbox.put(None)
        done, _ = await asyncio.wait({self.exited}, timeout=_CLOSE_SECONDS)
        if not done:
            self.kill()
            done, _ = await asyncio.wait({self.exited}, timeout=_KILL_SECONDS)
        if not done:  # it hangs in the kernel, in a driver most likely, where no signal reaches it
            log.error("The worker process %s does not end; it is left behind", self.pid)
            self._settle("the worker process did not end when it was killed")

    def _spawn(self) -> None:
        config = self._config
        commands_out, commands = _SPAWN.Pipe(duplex=False)
        events, events_in = _SPAWN.Pipe(duplex=False)
        # Daemonic, and killed before multiprocessing's own exit handler waits for it: it ignores SIGTERM.
        process = _SPAWN.Process(
            target=worker.main,
            name="scumble-worker",
            args=(
                commands_out,
                events_in,
                config.runtime_factory,
                config.model,
                config.device,
                str(config.data_dir),
                config.limits.max_log_bytes,
                config.limits.max_idle_seconds,
                config.tiers,
                config.content_filter,
                config.content_filter_percent,
            ),
            daemon=True,
        )
        try:
            process.start()
        except BaseException:
            for end in (commands, events):
                end.close()
            raise
        finally:
            commands_out.close()
            events_in.close()
        self._process, self._commands = process, commands
        atexit.register(self.kill)
        threading.Thread(
            target=self._write, args=(commands,), name="to-worker", daemon=True
        ).start()
        threading.Thread(
            target=self._read, args=(events, process), name="from-worker", daemon=True
        ).start()

    def _write(self, commands: Connection) -> None:
        with contextlib.suppress(OSError):
            while (data := self._outbox.get()) is not None:
                commands.send_bytes(data)
                self._written += 1
        with self._closing:
            commands.close()

    def _read(self, events: Connection, process: SpawnProcess) -> None:
        try:
            with contextlib.suppress(EOFError, OSError), events:
                while True:
                    self._call(self._on_message, messages.decode_from_worker(events.recv_bytes()))
        except msgspec.MsgspecError:
            log.exception("The worker said what nobody understands and is killed")
            process.kill()
        process.join(_CLOSE_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        atexit.unregister(self.kill)
        self._outbox.put(None)
        self._call(self._settle, _how_it_ended(process.exitcode))

    def _settle(self, how: str) -> None:
        if not self.exited.done():
            self.exited.set_result(how)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody cares any more
            self._loop.call_soon_threadsafe(function, *args)


def _how_it_ended(exitcode: int | None) -> str:
    if exitcode == messages.DEVICE_FAULT_STATUS:
        return "its graphics device failed"
    if exitcode is None or exitcode >= 0:
        return f"the worker process ended with status {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    hint = ", most often because the machine ran out of memory" if name == "SIGKILL" else ""
    return f"the worker process was ended by {name}{hint}"
