"""The panel's state, event by event."""

import pytest

from blender_addon.bridge import events
from blender_addon.bridge.status import Status, format_seconds


def test_a_generation_from_start_to_end() -> None:
    status = Status(error="old", note="old")
    status.start()
    assert (status.busy, status.error, status.note, status.progress_text) == (
        True, "", "", "Connecting",
    )  # fmt: skip
    status.apply(events.Queued(1, 3))
    assert status.progress_text == "Waiting behind 3"
    status.apply(events.Progressed(1, 0.4, "Painting", 65))
    assert status.progress_text == "Painting 40 %, 1 min 05 s left"
    status.apply(events.ServerChecked(False, "No server answers."))
    assert status.progress_text == "Waiting for the server 40 %"
    status.apply(events.Failed(1, "Too large."))
    assert (status.busy, status.error) == (False, "Too large.")
    status.start()
    status.apply(events.Cancelled(2))
    assert (status.busy, status.error, status.note) == (False, "", "Cancelled")


def test_an_unreachable_server_is_no_error_while_nothing_is_painted() -> None:
    status = Status()
    status.apply(events.ServerChecked(False, "No server answers."))
    assert (status.server_reachable, status.error, status.stage) == (False, "", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (7.6, "8 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4200, "1 h 10 min")],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
