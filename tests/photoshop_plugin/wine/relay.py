"""The tests' end of `com_server`: the in-memory Photoshop runs the scripts that came through COM."""

from __future__ import annotations

import json
import socketserver
import threading
from typing import Any

from tests.fakes.photoshop import Application
from tests.fakes.photoshop.objects import Fault


class Relay:
    """Listens on loopback. `photoshop` answers; each COM server process that comes counts in `starts`.

    busy: seconds that Photoshop turns calls away after the next answer. dies: the next script kills the process.
    """

    def __init__(self) -> None:
        self.photoshop = Application()
        self.starts = 0
        self.busy = 0.0
        self.dies = False
        relay = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                relay.starts += 1
                for line in self.rfile:
                    self.wfile.write(json.dumps(relay.answer(json.loads(line))).encode() + b"\n")

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.port: int = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What becomes of a script."""
        if self.dies:
            self.dies = False
            return {"die": True}
        busy, self.busy = self.busy, 0.0
        try:
            text = self.photoshop.doJavaScript(
                request["script"], request["arguments"], request["mode"]
            )
        except Fault as fault:
            return {"fault": fault.text, "number": fault.number, "busy": busy}
        return {"text": text, "busy": busy}

    def close(self) -> None:
        """Ends the listening; COM servers that are left end with their next call."""
        self._listener.shutdown()
        self._listener.server_close()
