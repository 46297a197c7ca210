"""The gateway as a process: ready, found, stopped cleanly, started again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from core_server import __version__
from core_server.config import ServerConfig
from core_server.errors import (
    AddressInUse,
    DataDirInUse,
    InsecureAddress,
    NotImplementedHere,
    StartupError,
)
from core_server.logs import JsonLines, logging_to
from core_server.serve import INTERRUPTED, make_data_dir, serve
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import job_pb2, server_service_pb2
from scumble.v1.generation_service_pb2_grpc import GenerationServiceStub
from scumble.v1.server_service_pb2_grpc import ServerServiceStub
from tests.core_server.rpc.asking import text_to_image
from tests.core_server.rpc.gateway import FAKE_RUNTIME, connect

ROOT = Path(__file__).parents[2]
RUNNER = f"""
import asyncio, dataclasses, sys
from pathlib import Path
from core_server.config_file import read_config
from core_server.serve import serve

def ready(address):
    heavy = sorted({{"torch", "diffusers", "transformers"}} & set(sys.modules))
    print(address, *heavy, flush=True)

if __name__ == "__main__":
    folder, port = sys.argv[1:]
    config = read_config(Path(folder), port=int(port), model="tiny", device="cpu")
    config = dataclasses.replace(config, runtime_factory={FAKE_RUNTIME!r})
    asyncio.run(serve(config, ready))
"""
posix = pytest.mark.skipif(os.name == "nt", reason="signals and modes are POSIX")


class Process:
    """A server in a process of its own."""

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-c", RUNNER, str(data_dir), str(port)]
        self.popen = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.popen.stdout is not None
        self.address, *self.heavy = self.popen.stdout.readline().split() or [""]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Sends a signal; returns exit status and stderr."""
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=100)
        return self.popen.returncode, errors

    def channel(self) -> grpc.Channel:
        return connect(self.address, (self.data_dir / "token").read_text().strip())


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data")
    yield process
    process.popen.kill()
    process.popen.communicate()


def config(data_dir: Path, **fields: object) -> ServerConfig:
    values = {"port": 0, "model": "tiny", "device": "cpu", "runtime_factory": FAKE_RUNTIME}
    return ServerConfig(data_dir=data_dir, **(values | fields))


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_a_whole_life(process: Process, number: int) -> None:
    folder = process.data_dir
    entry = json.loads((folder / "server.json").read_text())
    assert entry == {
        "address": process.address,
        "pid": process.popen.pid,
        "version": __version__,
        "tls": False,
    }
    assert process.heavy == [], "the gateway does not carry them"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with process.channel() as channel:
        about = ServerServiceStub(channel).GetServerInfo(server_service_pb2.GetServerInfoRequest())
        assert about.version == __version__
        generation = GenerationServiceStub(channel)
        secret = "slow: a prompt that is nobody's business"
        request = messages.CreateJobRequest(request_id="one", generation=text_to_image(secret))
        quick = messages.CreateJobRequest(
            request_id="zero", generation=text_to_image("bug: " + secret)
        )
        failed = generation.CreateJob(quick).job.job_id
        list(generation.WatchJob(messages.WatchJobRequest(job_id=failed)))
        job = generation.CreateJob(request).job
        watch = generation.WatchJob(messages.WatchJobRequest(job_id=job.job_id))
        next(it for it in watch if it.event.HasField("progress"))
        status, errors = process.end(number)
        assert status == 0, errors
        with pytest.raises(grpc.RpcError) as ended:
            list(watch)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not (folder / "server.json").exists()
    assert "Traceback" not in errors
    log = (folder / "logs" / "server.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["message"].split()[0] for line in lines] == [
        "Scumble",
        "job",
        "Stopping;",
        "Stopped",
    ]
    told = {"job_id": failed, "task": "text_to_image", "state": "failed", "reason": "INTERNAL"}
    assert told.items() <= lines[1].items()
    assert min(lines[1]["waited_seconds"], lines[1]["ran_seconds"]) >= 0
    assert "ZeroDivisionError" in (folder / "logs" / "worker.log").read_text(), "with its traceback"
    token = (folder / "token").read_text().strip()
    for text in (log, errors):
        assert "nobody's business" not in text
        assert token not in text

    again = Process(folder)
    try:
        with again.channel() as channel:
            generation = GenerationServiceStub(channel)
            generation.CancelJob(messages.CancelJobRequest(job_id=job.job_id))
            *_, last = generation.WatchJob(messages.WatchJobRequest(job_id=job.job_id))
            assert last.event.state == job_pb2.JOB_STATE_CANCELLED, "accepted before, known after"
        assert (folder / "token").read_text().strip() == token
    finally:
        assert again.end()[0] == 0


def test_a_second_server_on_the_same_port_or_folder(process: Process, tmp_path: Path) -> None:
    port = int(process.address.rpartition(":")[2])
    with pytest.raises(AddressInUse, match="another Scumble"):
        asyncio.run(serve(config(tmp_path / "other", port=port), print))
    with pytest.raises(DataDirInUse, match="Another Scumble"):
        asyncio.run(serve(config(process.data_dir), print))
    assert (process.data_dir / "server.json").exists(), "the first one is still announced"


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"host": "0.0.0.0"}, InsecureAddress, "--tls-cert"),
        ({"engine": "ray"}, NotImplementedHere, "--engine local"),
        ({"engine": "magic"}, StartupError, "'magic'"),
    ],
    ids=["open_to_all", "ray", "unknown_engine"],
)
def test_start_is_refused(
    tmp_path: Path, fields: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        asyncio.run(serve(config(tmp_path / "data", **fields), print))
    assert not (tmp_path / "data" / "jobs.sqlite3").exists()


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartupError, match="--data-dir"):
        make_data_dir(tmp_path / "data")


@posix
def test_only_folders_of_ours_are_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, content, mode in (
        ("empty", None, 0o700),
        ("ours", "token", 0o700),
        ("somebody_elses", "thesis.txt", 0o755),
    ):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(0o755)
        if content:
            (folder / content).write_text("x")
        make_data_dir(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == mode, name
    assert "somebody_elses" in caplog.text


def test_the_log_on_disk_is_bounded(tmp_path: Path) -> None:
    with logging_to(tmp_path, "server", max_bytes=60_000):
        for number in range(2000):
            logging.getLogger("noise").info("line %d %s", number, "x" * 100)
    files = list((tmp_path / "logs").iterdir())
    assert len(files) > 1
    assert sum(file.stat().st_size for file in files) <= 60_000
    assert "line 1999" in (tmp_path / "logs" / "server.log").read_text()


def test_the_logs_of_both_processes_keep_the_limit_of_the_config(tmp_path: Path) -> None:
    limit = 24_000
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "config.toml").write_text(f"[limits]\nmax_log_bytes = {limit}\n")
    process = Process(folder)
    try:
        with process.channel() as channel:
            about = ServerServiceStub(channel)
            info = about.GetServerInfo(server_service_pb2.GetServerInfoRequest())
            assert info.limits.max_log_bytes == limit
            generation = GenerationServiceStub(channel)
            for number in range(120):  # the worker logs a traceback for each, the gateway a line
                request = messages.CreateJobRequest(
                    request_id=str(number), generation=text_to_image("bug")
                )
                last = generation.CreateJob(request).job.job_id
            list(generation.WatchJob(messages.WatchJobRequest(job_id=last)))
    finally:
        assert process.end()[0] == 0
    for name in ("server", "worker"):
        files = list((folder / "logs").glob(f"{name}.log*"))
        assert len(files) > 5, "so much was written that the oldest are gone"
        assert sum(file.stat().st_size for file in files) <= limit, name


def test_log_lines_are_json() -> None:
    record = logging.makeLogRecord(
        {
            "name": "x",
            "levelname": "INFO",
            "msg": "job %s: %s",
            "args": ("7", 'a "b"\n'),
            "job_id": "7",
        }
    )
    entry = json.loads(JsonLines().format(record))
    assert entry["message"] == 'job 7: a "b"\n'
    assert entry["job_id"] == "7"
    assert entry["level"] == "info"
    assert entry["time"].endswith("Z")


SLOW_TO_STOP = """
import asyncio
from core_server.serve import _signals_to

async def main():
    stop = asyncio.Event()
    with _signals_to(stop):
        print("running", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@posix
def test_a_second_signal_ends_it_at_once() -> None:
    command = [sys.executable, "-c", SLOW_TO_STOP]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for expected, number in (("running", signal.SIGTERM), ("stopping", signal.SIGINT)):
            assert process.stdout.readline().strip() == expected
            process.send_signal(number)
        assert process.wait(timeout=100) == INTERRUPTED
