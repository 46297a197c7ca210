"""The one thread that may touch COM: Photoshop's objects belong to the apartment that made them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from photoshop_plugin.errors import ConnectionLost

T = TypeVar("T")

_INTERRUPT_POLL_SECONDS = 0.1
"""Windows delivers Ctrl-C to a waiting main thread only between waits."""


class ComThread:
    """Runs calls one after the other on a thread of its own, inside `apartment` (CoInitialize ... CoUninitialize).

    A daemon: a call that hangs in Photoshop never keeps the program from ending.
    """

    def __init__(self, apartment: Callable[[], AbstractContextManager[object]]) -> None:
        self._apartment = apartment
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="photoshop-com", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T], *, finish: bool = False) -> T:
        """The function's result, or its exception, from the COM thread.

        Ctrl-C ends the waiting, not the function. finish: the first Ctrl-C is overlooked, since the function changes
        something and the caller should learn how it ended; the second one counts.
        Raises ConnectionLost where the thread has ended or could not enter its apartment.
        """
        future: Future[T] = Future()
        try:
            self._calls.put((function, future))
            return self._answer(future)
        except KeyboardInterrupt:
            if not finish:
                raise
        return self._answer(future)

    def close(self, timeout: float = 2.0) -> None:
        """Ends the thread after the calls that wait, or leaves it behind after `timeout` seconds."""
        self._calls.put(None)
        self._thread.join(timeout)

    def _answer(self, future: Future[T]) -> T:
        while True:
            try:
                return future.result(timeout=_INTERRUPT_POLL_SECONDS)
            except NotYet:
                # Done since the wait ended, or the function itself raised a TimeoutError.
                if future.done():
                    return future.result()
                if not self._thread.is_alive() and not future.done():
                    # Closed before the call, or COM could not be entered: nobody would ever answer.
                    raise ConnectionLost from self._failure

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - told to whoever calls
            self._failure = error

    def _serve(self) -> None:
        with self._apartment():
            while (item := self._calls.get()) is not None:
                function, future = item
                try:
                    future.set_result(function())
                except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
                    future.set_exception(error)
