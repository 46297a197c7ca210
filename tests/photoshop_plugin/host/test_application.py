"""Finding Photoshop, being patient with it, finding it again; one thread for all of COM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import nullcontext
from typing import Literal

import pytest

from photoshop_plugin.errors import (
    Busy,
    CannotConnect,
    ConnectionLost,
    NotInstalled,
    NotRunning,
    NotWindows,
    PhotoshopError,
    ScriptFailed,
)
from photoshop_plugin.host import com as real_com
from photoshop_plugin.host.application import Application as Connection
from photoshop_plugin.host.com_thread import ComThread
from photoshop_plugin.host.photoshop import ComPhotoshop
from tests.fakes.photoshop import Application
from tests.fakes.photoshop.com import Com
from tests.photoshop_plugin.scene import open_document

CALL_REJECTED, RETRY_LATER = -2147418111, -2147417846
SERVER_UNAVAILABLE, CALL_FAILED, SERVER_DIED = -2147023174, -2147023170, -2147418105


class Photoshop:
    """Answers to doJavaScript; fails first with the given HRESULTs."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.runs = 0

    def doJavaScript(self, script: str, arguments: object, mode: int) -> str:  # noqa: N802
        if self.failures:
            error = RuntimeError("COM")
            error.hresult, error.details = self.failures.pop(0), ("Texte de Photoshop",)  # type: ignore[attr-defined]
            raise error
        self.runs += 1
        return script


def connection(*photoshops: Photoshop) -> tuple[Connection, list[float], list[str]]:
    """A connection that reaches one after the other; the waits it makes, the times it says that it waits."""
    left, waits, said = list(photoshops), [], []
    made = Connection(
        lambda: left.pop(0),
        lambda: bool(left),
        patience_seconds=5.0,
        on_busy=lambda: said.append("busy"),
        sleep=waits.append,
    )
    return made, waits, said


def test_a_closed_photoshop_is_never_started(com: Com, host: ComPhotoshop) -> None:
    with pytest.raises(NotRunning, match="Start it"):
        host.describe()
    assert com.starts == 0


def test_a_photoshop_that_does_not_let_us_in_is_explained(com: Com) -> None:
    with (
        ComPhotoshop(is_running=lambda: True) as host,
        pytest.raises(CannotConnect, match="administrator"),
    ):
        host.describe()


@pytest.mark.parametrize("running", ["190", "200", "210"])
def test_of_several_versions_the_running_one_is_taken(
    com: Com, photoshop: Application, host: ComPhotoshop, running: str
) -> None:
    open_document(photoshop)
    com.installed, com.version = ["190", "200", "210"], running
    assert host.describe().name == "photo.psd"
    assert com.starts == 0


@pytest.mark.parametrize("announced", [False, "dead"], ids=["not-announced", "entry-of-a-dead-one"])
def test_a_photoshop_that_is_not_announced_is_found_too(
    com: Com, photoshop: Application, host: ComPhotoshop, announced: Literal[False, "dead"]
) -> None:
    open_document(photoshop)
    com.announced = announced
    assert host.describe().name == "photo.psd"


@pytest.mark.parametrize("number", [CALL_REJECTED, RETRY_LATER], ids=hex)
def test_a_busy_photoshop_is_asked_again(number: int) -> None:
    photoshop = Photoshop(*[number] * 4)
    made, waits, said = connection(photoshop)
    assert made.run("describe", "text") == "text"
    assert (waits, said, photoshop.runs) == ([0.1, 0.2, 0.4, 0.8], ["busy"], 1)


def test_patience_ends_in_a_sentence() -> None:
    made, waits, _ = connection(Photoshop(*[RETRY_LATER] * 99))
    with pytest.raises(Busy, match="dialog"):
        made.run("describe", "text")
    assert 5 <= sum(waits) <= 7


def test_a_restarted_photoshop_is_found_again() -> None:
    first, second = Photoshop(), Photoshop()
    made, _, _ = connection(first, second)
    made.run("describe", "text")
    first.failures.append(SERVER_UNAVAILABLE)
    assert made.run("describe", "text") == "text"
    assert (first.runs, second.runs) == (1, 1)


@pytest.mark.parametrize("number", [CALL_FAILED, SERVER_DIED], ids=hex)
def test_a_program_that_may_have_run_is_not_run_again(number: int) -> None:
    first, second = Photoshop(number), Photoshop()
    made, _, _ = connection(first, second)
    with pytest.raises(ConnectionLost, match="Look at the document"):
        made.run("apply", "text")
    assert second.runs == 0
    assert made.run("describe", "text") == "text"


def test_other_errors_keep_photoshops_own_words() -> None:
    made, _, _ = connection(Photoshop(-2147220262))
    with pytest.raises(ScriptFailed, match="Texte de Photoshop"):
        made.run("apply", "text")


def test_busy_through_the_real_dispatch(
    com: Com, photoshop: Application, host: ComPhotoshop
) -> None:
    open_document(photoshop)
    com.failures = [RETRY_LATER]
    assert host.describe().name == "photo.psd"
    assert len(photoshop.scripts) == 1


def test_all_calls_come_from_one_thread_and_errors_come_back(com: Com) -> None:
    class Apartment:
        entered: int | None = None
        left: int | None = None

        def __enter__(self) -> None:
            self.entered = threading.get_ident()

        def __exit__(self, *_: object) -> None:
            self.left = threading.get_ident()

    apartment = Apartment()
    thread = ComThread(lambda: apartment)
    callers = [
        threading.Thread(target=lambda: seen.append(thread.call(threading.get_ident)))
        for _ in range(4)
    ]
    seen: list[int] = []
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    with pytest.raises(TimeoutError):
        thread.call(lambda: (_ for _ in ()).throw(TimeoutError()))
    thread.close()
    assert set(seen) == {apartment.entered} == {apartment.left}
    assert apartment.entered != threading.get_ident()


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself a signal")
@pytest.mark.parametrize("finish", [False, True], ids=["waiting-ends", "call-finishes"])
def test_ctrl_c_while_photoshop_works(finish: bool) -> None:
    thread, released = ComThread(nullcontext), threading.Event()

    def interrupted_call() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(0.5)
        return "placed"

    if finish:
        assert thread.call(interrupted_call, finish=True) == "placed"
    else:
        with pytest.raises(KeyboardInterrupt):
            thread.call(interrupted_call)
        released.set()
    thread.close()


@pytest.mark.parametrize(("platform", "error"), [("linux", NotWindows), ("win32", NotInstalled)])
def test_without_com_there_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, platform: str, error: type[PhotoshopError]
) -> None:
    monkeypatch.setitem(sys.modules, "photoshop.api", None)
    monkeypatch.setattr("sys.platform", platform)
    with pytest.raises(error):
        real_com.require_com()
