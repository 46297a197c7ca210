"""The bridge's session against a scripted client: results, cancellation, failures, and what stays behind."""

from __future__ import annotations

import threading
import time

import pytest

from blender_addon.bridge import events
from blender_addon.bridge.errors import Busy
from blender_addon.bridge.request import Options, Server, TextureRequest
from blender_addon.bridge.session import Session
from scumble.client import (
    Cancelled,
    Event,
    JobState,
    NotRunning,
    OutOfMemory,
    Patch,
    ScumbleError,
    SeamlessAxes,
    WorkerState,
)
from tests.fakes.scumble_client import FakeClient, FakeJob, picture, progress

REQUEST = TextureRequest(
    prompt="slate", width=6, height=4, seed=7, options=Options(guidance_scale=3.5)
)


def drain(session: Session) -> list[events.Event]:
    """Pumps until nothing is under way."""
    taken: list[events.Event] = []
    deadline = time.monotonic() + 60
    while (session.busy or session.checking) and time.monotonic() < deadline:
        taken += session.pump()
        time.sleep(0.001)
    assert not session.busy
    return taken


def pump_until(session: Session, kind: type) -> events.Event:
    """The first event of a kind."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in session.pump():
            if isinstance(event, kind):
                return event
        time.sleep(0.001)
    raise AssertionError(f"no {kind.__name__}")


def no_bridge_threads() -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(thread.name.startswith("scumble-") for thread in threading.enumerate()):
            return True
        time.sleep(0.002)
    return False


def finished_job() -> FakeJob:
    job = FakeJob(
        events=[
            Event(number=1, state=JobState.QUEUED, queue_position=2),
            progress(1, 4, 2),
            Event(number=3, preview=picture(4, 4)),
        ],
        patches=[Patch(pixels=picture(), seed=2**63, recipe={"steps": 4})],
    )
    job.held.set()
    return job


def test_generate_tells_the_whole_story_and_ends() -> None:
    client = FakeClient(finished_job())
    session = Session(lambda server: client)
    ticket = session.generate(Server(), REQUEST)
    told = drain(session)
    assert [type(event).__name__ for event in told] == [
        "Progressed", "Queued", "Progressed", "Previewed", "Progressed", "Painted",
    ]  # fmt: skip
    assert told[1] == events.Queued(ticket, 2)
    assert told[2] == events.Progressed(ticket, 0.25, "Painting", 3.0)
    painted = told[-1]
    assert isinstance(painted, events.Painted)
    assert painted.pictures[0].seed == 2**63
    assert painted.pictures[0].recipe == '{"steps": 4}'
    asked = client.submitted[0]
    assert (asked.prompt, asked.seed, asked.seamless) == ("slate", 7, SeamlessAxes.XY)
    assert (asked.num_inference_steps, asked.guidance_scale) == (None, 3.5)
    assert client.job.closed.is_set()
    assert no_bridge_threads()


def test_only_one_at_a_time() -> None:
    client = FakeClient()
    session = Session(lambda server: client)
    session.generate(Server(), REQUEST)
    with pytest.raises(Busy, match="already painting"):
        session.generate(Server(), REQUEST)
    client.job.error = Cancelled("The job was cancelled.")
    client.job.held.set()
    assert isinstance(drain(session)[-1], events.Cancelled)


def test_cancel_frees_the_artist_at_once_and_reaches_the_server() -> None:
    client = FakeClient(FakeJob(events=[progress(1, 100)]))
    session = Session(lambda server: client)
    ticket = session.generate(Server(), REQUEST)
    pump_until(session, events.Progressed)
    session.cancel()
    assert session.pump()[-1] == events.Cancelled(ticket)
    assert not session.busy
    assert client.job.cancelled.wait(60)
    assert no_bridge_threads(), "a waiting watch must end with its connection"
    assert session.pump() == []


def test_cancel_while_connecting_leaves_no_job_running() -> None:
    gate, client = threading.Event(), FakeClient()

    def connect(server: Server) -> FakeClient:
        gate.wait(60)
        return client

    session = Session(connect)
    session.generate(Server(), REQUEST)
    session.cancel()
    assert isinstance(session.pump()[-1], events.Cancelled)
    gate.set()
    assert no_bridge_threads()
    assert client.submitted == []


def test_events_of_a_cancelled_generation_never_reach_the_next() -> None:
    first, second = FakeClient(FakeJob(events=[progress(1, 9)])), FakeClient(finished_job())
    clients = iter([first, second])
    session = Session(lambda server: next(clients))
    session.generate(Server(), REQUEST)
    pump_until(session, events.Progressed)
    session.cancel()
    session.pump()
    ticket = session.generate(Server(), REQUEST)
    told = drain(session)
    assert {event.ticket for event in told} == {ticket}
    assert isinstance(told[-1], events.Painted)


@pytest.mark.parametrize(
    ("error", "where"),
    [
        pytest.param(NotRunning("No server answers. Start one."), "connect", id="no server"),
        pytest.param(OutOfMemory("Too large for the device."), "submit", id="refused"),
        pytest.param(OutOfMemory("Too large for the device."), "result", id="failed later"),
    ],
)
def test_failures_are_the_errors_own_sentence(error: ScumbleError, where: str) -> None:
    client = FakeClient(finished_job())
    if where == "submit":
        client.submit_error = error
    if where == "result":
        client.job.error = error

    def connect(server: Server) -> FakeClient:
        if where == "connect":
            raise error
        return client

    session = Session(connect)
    ticket = session.generate(Server(), REQUEST)
    assert drain(session)[-1] == events.Failed(ticket, str(error), error.reason)


def test_a_mistake_of_ours_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def connect(server: Server) -> FakeClient:
        raise TypeError("a bug")

    session = Session(connect)
    session.generate(Server(), REQUEST)
    failed = drain(session)[-1]
    assert isinstance(failed, events.Failed)
    assert "TypeError: a bug" in failed.message
    assert "Unexpected error in the bridge" in caplog.text


def test_close_cancels_and_joins() -> None:
    client = FakeClient(FakeJob(events=[progress(1, 100)]))
    session = Session(lambda server: client)
    session.generate(Server(), REQUEST)
    pump_until(session, events.Progressed)
    session.close(60)
    assert client.job.cancelled.is_set()
    assert no_bridge_threads()


@pytest.mark.parametrize(
    ("client", "reachable", "text"),
    [
        pytest.param(FakeClient(), True, "Scumble 0.1.0: on cpu, model tiny", id="ready"),
        pytest.param(
            FakeClient(worker_state=WorkerState.STARTING, worker_message="Loading tiny"),
            True,
            "Scumble 0.1.0: Loading tiny",
            id="starting",
        ),
        pytest.param(None, False, "No server answers.", id="none"),
    ],
)
def test_check(client: FakeClient | None, reachable: bool, text: str) -> None:
    def connect(server: Server) -> FakeClient:
        if client is None:
            raise NotRunning("No server answers.")
        return client

    session = Session(connect)
    session.check(Server())
    session.check(Server())
    ready = client is not None and client.worker_state is WorkerState.READY
    catalogue = events.Catalogue(default_model="tiny") if ready else None
    memory = events.Memory(0, 0, 64, 64) if ready else None
    assert drain(session) == [events.ServerChecked(reachable, text, ready, catalogue, memory)]


def test_memory_is_given_back_and_a_server_that_is_gone_is_no_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeClient(installed=("small", "large"))
    session = Session(lambda server: client)
    session.free(Server())
    assert no_bridge_threads()
    assert client.unloaded == ["small", "large"]

    def refuse(server: Server) -> FakeClient:
        raise NotRunning("No server answers.")

    Session(refuse).free(Server())
    assert no_bridge_threads()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
