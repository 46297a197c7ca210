"""The client's live call against a real gateway."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from scumble.client import (
    Client,
    ControlImage,
    InvalidRequest,
    Live,
    LiveSession,
    ModelNotFound,
    Pixels,
    Unavailable,
)
from tests.core_server.rpc.gateway import SECONDS, Gate, Gateway, until


def canvas(value: int, side: int = 16) -> Pixels:
    return Pixels.from_numpy(np.full((side, side, 3), value, np.uint8))


def colour_after(session: LiveSession, number: int) -> int:
    """The colour of the first picture made from frame `number` or a later one."""
    deadline = time.monotonic() + SECONDS
    while (picture := session.latest(SECONDS)) is None or picture.frame_number < number:
        assert time.monotonic() < deadline
    [value] = np.unique(picture.pixels.numpy())
    return int(value)


def test_pictures_follow_the_canvas_and_the_settings(client: Client) -> None:
    with client.live(Live("moss", seed=4, strength=0.5, num_inference_steps=1)) as session:
        session.send(canvas(10))
        picture = session.latest(SECONDS)
        assert picture is not None
        assert set(picture.pixels.tobytes()) == {245}
        told = picture.settings
        assert (told.seed, told.strength, told.num_inference_steps) == (4, 0.5, 1)
        assert picture.latency > 0
        assert session.latest(0.05) is None, "nothing new"
        session.change(prompt="rust", strength=0.75)
        changed = session.latest(SECONDS)
        assert changed is not None
        assert (changed.settings.notes, changed.settings.strength) == (("rust",), 0.75)
        session.send(canvas(10))
        same = session.latest(SECONDS)
        assert same is not None
        assert same.unchanged
        assert same.pixels.tobytes() == changed.pixels.tobytes()
        assert session.figures.unchanged == 1
        assert colour_after(session, session.send(canvas(11))) == 244


def test_many_threads_may_send(client: Client, gateway: Gateway) -> None:
    gate = Gate(gateway)
    with client.live(Live("gated")) as session:
        session.send(canvas(99))
        gate.wait()

        def paint() -> None:
            for value in range(20):
                session.send(canvas(value))
                time.sleep(0.005)

        threads = [threading.Thread(target=paint) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gate.open()
        colour_after(session, 61)
        figures = session.figures
        assert figures.sent == 61
        assert figures.pictures + figures.unchanged + figures.dropped == 61
        assert figures.dropped > 50


def test_extent_of_the_pictures(client: Client) -> None:
    with client.live(Live("moss", extent=(8, 4))) as session:
        session.send(canvas(1))
        picture = session.latest(SECONDS)
        assert picture is not None
        assert picture.pixels.extent == (8, 4)


def test_what_the_server_refuses_is_raised(client: Client) -> None:
    with client.live(Live("moss", model="nowhere")) as session:
        session.send(canvas(1))
        with pytest.raises(ModelNotFound):
            session.latest(SECONDS)
        with pytest.raises(ModelNotFound):
            session.send(canvas(2))


def test_what_cannot_be_sent_is_refused_here(client: Client) -> None:
    with client.live(Live("moss")) as session:
        with pytest.raises(InvalidRequest, match="one message to this server"):
            session.send(canvas(1, side=2000))
        with pytest.raises(InvalidRequest, match="no such setting"):
            session.change(colour="red")
        with pytest.raises(InvalidRequest, match="no control"):
            session.change(control_images=(ControlImage("depth", "x"),))
        assert colour_after(session, session.send(canvas(1))) == 254, "it still paints"


def test_closing_ends_it_for_all_threads(client: Client, gateway: Gateway) -> None:
    session = client.live(Live("slow"))
    session.send(canvas(1))
    caught: list[Exception] = []

    def wait() -> None:
        try:
            while True:
                session.latest()
        except Unavailable as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.2)
    session.close()
    waiter.join(SECONDS)
    assert len(caught) == 1
    with pytest.raises(Unavailable, match="closed"):
        session.send(canvas(2))
    until(lambda: not gateway.jobs.live.sessions)
