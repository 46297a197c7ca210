"""One background thread that does one thing after the other and never keeps the program from ending."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Like a ThreadPoolExecutor of one thread, but a daemon: Python waits at its end for every thread of an executor,
    so that a Photoshop that hangs would keep a closed panel alive."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._lock, self._closed = threading.Lock(), False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queues a call. Raises RuntimeError after `shutdown`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the panel was closed")
            self._work.put((function, future))
        return future

    def shutdown(self) -> None:
        """What is queued is still done; nothing more is taken. Does not wait."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            function, future = item
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised again where the result is asked for
                future.set_exception(error)
            # The last call's result, and what it holds, is not kept until the next one.
            del item, function, future
