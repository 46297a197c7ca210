"""The COM thread answers every call, whatever happens to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from photoshop_plugin.errors import ConnectionLost
from photoshop_plugin.host import com_thread
from photoshop_plugin.host.com_thread import ComThread


def test_an_answer_that_comes_as_the_wait_ends_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(com_thread, "_INTERRUPT_POLL_SECONDS", 0)
    thread = ComThread(nullcontext)
    try:
        assert [thread.call(lambda k=k: k) for k in range(500)] == list(range(500))
    finally:
        thread.close()


def test_a_timeout_of_the_function_is_its_own() -> None:
    thread = ComThread(nullcontext)

    def late() -> None:
        raise TimeoutError("Photoshop's")

    with pytest.raises(TimeoutError, match="Photoshop's"):
        thread.call(late)
    thread.close()


def test_a_thread_that_could_not_enter_com_says_so() -> None:
    @contextmanager
    def apartment() -> Iterator[None]:
        raise OSError("CoInitialize failed")
        yield

    thread = ComThread(apartment)
    with pytest.raises(ConnectionLost) as caught:
        thread.call(lambda: 1)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_closed_thread_answers_too() -> None:
    thread = ComThread(nullcontext)
    thread.close()
    with pytest.raises(ConnectionLost):
        thread.call(lambda: 1)
