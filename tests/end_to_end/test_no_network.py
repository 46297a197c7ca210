"""No surprises: the server works with nothing but loopback, and looks for nothing else when there is more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import scumble.client
from scumble.client import TextToImage
from tests.real_server import running_server

ROOT = Path(__file__).parents[2]
SECRET_PROMPT = "a-prompt-nobody-else-may-read"
JOB = TextToImage(prompt=SECRET_PROMPT, width=64, height=64, num_inference_steps=3, seed=1)
ALONE = """
import socket, subprocess, sys
from contextlib import suppress
from pathlib import Path
import scumble.client
from tests.end_to_end.test_no_network import JOB
from tests.real_server import running_server

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def unroutable():
    # What no way was found for, by any process in this namespace, as the kernel counts it (RFC 4293).
    names, values = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")
    ]
    found = [int(values[names.index("OutNoRoutes")])]
    with suppress(OSError):
        for line in Path("/proc/net/snmp6").read_text().splitlines():
            found += [int(line.split()[1])] if line.startswith("Ip6OutNoRoutes") else []
    return found


first = unroutable()
for kind, address in list(zip((socket.AF_INET, socket.AF_INET6), ("192.0.2.1", "2001:db8::1")))[: len(first)]:
    with suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as outside:
        outside.connect((address, 53))
        sys.exit("there is a network after all")
before = unroutable()
assert all(now > then for now, then in zip(before, first)), f"the kernel does not count: {before}"
with running_server(Path(sys.argv[1])) as server:
    with scumble.client.connect(server.address, token=server.token) as client:
        [patch] = client.submit(JOB).result(timeout=300)
        print(patch.pixels.width, client.models()[0].model_id)
assert unroutable() == before, f"somebody looked for a network: {before}, then {unroutable()}"
"""


def test_a_job_in_a_network_of_loopback_alone_looks_for_no_other(tmp_path: Path) -> None:
    apart = [shutil.which("unshare") or "", "-rn"]
    if not apart[0] or not shutil.which("ip") or subprocess.run([*apart, "true"]).returncode:
        pytest.skip("this system lets nobody make a network namespace")
    outcome = subprocess.run(
        [*apart, sys.executable, "-c", ALONE, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"},
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.split()[:1] == ["64"]


class Watcher(threading.Thread):
    """Looks at the sockets of a process and its children all the time."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self.looks = 0
        self.elsewhere: set[str] = set()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            for process in [self._root, *self._root.children(recursive=True)]:
                try:
                    found = process.net_connections("inet")
                except psutil.Error:
                    continue
                for it in found:
                    open_to_all = it.status == psutil.CONN_LISTEN and not local(it.laddr.ip)
                    if (it.raddr and not local(it.raddr.ip)) or open_to_all:
                        self.elsewhere.add(f"{it.laddr} -> {it.raddr} {it.status}")
            self.looks += 1
            time.sleep(0.01)


def local(ip: str) -> bool:
    return ip.startswith("127.") or ip in ("::1", "::ffff:127.0.0.1")


def test_nothing_calls_out_and_nothing_is_told(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        watcher = Watcher(server.process.pid)
        watcher.start()
        with scumble.client.connect(server.address, token=server.token) as client:
            job = client.submit(JOB)
            job.result(timeout=300)
            client.models()
        while watcher.looks <= 5:
            time.sleep(0.01)
        watcher.stop.set()
        watcher.join()
    assert watcher.elsewhere == set()
    told = [*tmp_path.glob("logs/*"), tmp_path / "server.out"]
    text = "".join(path.read_text() for path in told)
    assert job.id in text, "one line a job"
    assert SECRET_PROMPT not in text
    assert server.token not in text
