"""What the client survives, and what it says when it cannot."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

import scumble.client
from scumble.client import TextToImage
from tests.fakes.flaky_server import flaky_server


def test_submit_repeats_one_request_id_until_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scumble.client.connection.LOST_SECONDS", 60)
    with (
        flaky_server(refusals=2) as server,
        scumble.client.connect(server.address, token="t") as client,
    ):
        assert client.submit(TextToImage("x", 8, 8)).id == "job"
    assert len(server.created) == 3
    assert len(set(server.created)) == 1


def test_watch_reconnects_and_goes_on_where_it_was() -> None:
    with flaky_server() as server, scumble.client.connect(server.address, token="t") as client:
        events = list(client.job("job").watch())
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert server.watched == [0, 1, 2, 3]


@pytest.mark.parametrize("tells_job", [True, False], ids=["brought along", "older server"])
def test_the_last_event_brings_the_job_so_that_nobody_asks_for_it(tells_job: bool) -> None:
    with (
        flaky_server(tells_job=tells_job) as server,
        scumble.client.connect(server.address, token="t") as client,
    ):
        job = client.submit(TextToImage("x", 8, 8))
        assert len(list(job.watch())) == 4
        for asked in (0 if tells_job else 1, 1):
            server.asked = 0
            with pytest.raises(scumble.client.ImageNotFound, match="expired"):
                job.result()
            assert server.asked == asked, "asked once more, it is to hear how it is then"


@pytest.mark.parametrize(
    ("version", "fits"),
    [("0.1.7", True), ("0.2.0", False), ("1.1.0", False), ("0.1.0rc1", True)],
)
def test_versions_that_do_not_speak_with_each_other_are_refused(version: str, fits: bool) -> None:
    with flaky_server(version=version) as server:
        if fits:
            scumble.client.connect(server.address, token="t").close()
            return
        with pytest.raises(scumble.client.VersionMismatch, match=f"Scumble {version} .* 0.1.0"):
            scumble.client.connect(server.address, token="t")


def test_nobody_listening_says_how_to_start_a_server() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(scumble.client.NotRunning, match=f"{address}.*scumble serve"):
            scumble.client.connect(address, token="t")


@contextmanager
def slow_way_to(address: str, seconds: float) -> Iterator[str]:
    """An address that takes a connection at once, and lets it through to the server only after a while."""

    def forward(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass  # the other side has closed it
        sink.close()

    def accept() -> None:
        near, _ = listener.accept()
        time.sleep(seconds)
        host, _, port = address.rpartition(":")
        far = socket.create_connection((host, int(port)))
        for pair in ((near, far), (far, near)):
            threading.Thread(target=forward, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_is_slow_to_answer_is_no_server_that_is_away() -> None:
    with flaky_server() as server, slow_way_to(server.address, 0.5) as address:
        scumble.client.connect(address, token="t").close()


def test_another_program_there_is_told_apart() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(scumble.client.Unimplemented, match="another program"):
            scumble.client.connect(f"127.0.0.1:{port}", token="t")
    finally:
        server.stop(0).wait()


def test_a_server_that_went_away_is_looked_for_and_then_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scumble.client.jobs.GIVE_UP_SECONDS", 0.2)
    with flaky_server() as server:
        client = scumble.client.connect(server.address, token="t")
    with client, pytest.raises(scumble.client.Unavailable, match=r"went away.*the job is kept"):
        list(client.job("job").watch())


def test_no_server_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(scumble.client.NotRunning, match=str(tmp_path / "server.json")):
        scumble.client.connect(data_dir=tmp_path)
