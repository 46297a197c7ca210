"""Photoshop's Application object: found, never started; patient while it is busy; found again after it has died."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from photoshop_plugin.errors import Busy, ConnectionLost, NotRunning, ScriptFailed
from photoshop_plugin.host.com_errors import ComFailure, classify, describe

_log = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 2.0
_NEVER_SHOW_DEBUGGER = 1
"""JavaScriptExecutionMode: an error comes back as an error and opens no debugger."""


class ScriptRunner(Protocol):
    """The one method of photoshop-python-api's Application that is used. Its late-bound object wrappers are not: they
    misread methods as properties where Photoshop gives no type information."""

    def doJavaScript(self, script: str, arguments: Any, mode: int) -> Any:  # noqa: N802 - Photoshop's name
        """Runs ExtendScript and returns its last value as text."""
        ...


class Application:
    """Runs ExtendScript in the Photoshop that is open. Lives on the COM thread.

    patience_seconds: how long a busy Photoshop is asked again. on_busy: called once per call that has to wait.
    """

    def __init__(
        self,
        connect: Callable[[], ScriptRunner],
        is_running: Callable[[], bool],
        *,
        patience_seconds: float = 60.0,
        on_busy: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._is_running = is_running
        self._patience_seconds = patience_seconds
        self._on_busy = on_busy
        self._sleep = sleep
        self._runner: ScriptRunner | None = None

    def run(self, program: str, script: str) -> Any:
        """The script's answer. `program` names it in errors.

        Raises NotRunning, CannotConnect, Busy, ConnectionLost or ScriptFailed. A script that may have begun to run is
        never run again.
        """
        waited, wait, reconnected = 0.0, _FIRST_WAIT_SECONDS, False
        while True:
            try:
                return self._connected().doJavaScript(script, None, _NEVER_SHOW_DEBUGGER)
            except Exception as error:
                failure = classify(error)
                if failure is ComFailure.OTHER:
                    if hasattr(error, "hresult"):
                        raise ScriptFailed(program, describe(error)) from error
                    raise
                if failure is ComFailure.BROKEN_OFF:
                    self._runner = None
                    raise ConnectionLost from error
                if failure is ComFailure.NEVER_ARRIVED:
                    self._runner = None
                    if reconnected:
                        raise ConnectionLost from error
                    reconnected = True
                    _log.info("Photoshop was closed since the last call; connecting again")
                    continue
                if waited == 0:
                    self._on_busy()
                if waited >= self._patience_seconds:
                    raise Busy(waited) from error
                self._sleep(wait)
                waited += wait
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def _connected(self) -> ScriptRunner:
        if self._runner is None:
            # Creating the COM object would start Photoshop; the artist decides that.
            if not self._is_running():
                raise NotRunning
            self._runner = self._connect()
        return self._runner
