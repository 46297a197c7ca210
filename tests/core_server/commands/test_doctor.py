from __future__ import annotations

import json
from pathlib import Path

from core_server.commands.doctor import look_at_server
from tests.core_server.rpc.gateway import running_gateway


def test_a_running_server_tells_how_often_its_caches_helped(tmp_path: Path) -> None:
    [alone] = look_at_server(tmp_path)
    assert "not running" in alone.found
    with running_gateway(tmp_path) as gateway:
        gateway.run(gateway.jobs.engine.wait_ready())
        told = {"address": gateway.address, "pid": 1, "version": "0.1.0", "tls": False}
        (tmp_path / "server.json").write_text(json.dumps(told))
        server, caches = look_at_server(tmp_path)
    assert gateway.address in server.found
    assert not server.mend
    assert caches.found == "prompts 3 of 5 (0 MiB)"
