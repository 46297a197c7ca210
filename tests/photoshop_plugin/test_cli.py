"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from io import StringIO

import pytest

from photoshop_plugin.cli import main
from photoshop_plugin.document import Document
from photoshop_plugin.flow import Submitted
from photoshop_plugin.progress import Progress as ProgressLine
from scumble.client import Bounds, Event, Extent, JobState, Progress
from tests.fakes.photoshop import Application
from tests.fakes.photoshop import Document as Document_
from tests.fakes.photoshop.com import Com
from tests.photoshop_plugin.conftest import open_host
from tests.photoshop_plugin.scene import open_document, texture
from tests.photoshop_plugin.scripted_server import ScriptedServer

RETRY_LATER = -2147417846


@pytest.mark.parametrize("masked", [False, True], ids=["selection", "quick mask"])
def test_describe_says_what_it_sees(
    com: Com, photoshop: Application, capsys: pytest.CaptureFixture[str], *, masked: bool
) -> None:
    open_document(photoshop, dtype="uint16", resolution=240.5).quickMaskMode = masked
    com.failures = [RETRY_LATER]
    assert main(["describe"], open_host=open_host(com)) == 0
    output = capsys.readouterr()
    assert output.out == (
        "photo.psd: 233 x 167 px, 240.5 ppi, RGB, 16 bits, Adobe RGB (1998); selected: 47 x 58 px at 150, 21\n"
    )
    assert output.err == "Photoshop is busy; waiting\n"


class Interrupted:
    """A host that Ctrl-C hits."""

    def describe(self) -> Document:
        raise KeyboardInterrupt


def test_ctrl_c_has_its_own_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe"], open_host=lambda *_: nullcontext(Interrupted())) == 130  # type: ignore[arg-type]
    assert capsys.readouterr().err == "Cancelled.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["inpaint", "--prompt", "x", "--seed", "y"],
        ["extend", "--left", "-3"],
        ["layer", "--lora", "ink:x"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="the sentence is for other systems")
def test_off_windows_it_says_so() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "photoshop_plugin", "inpaint", "--prompt", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 1
    assert "only Windows has" in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1


def test_all_open_documents_are_painted_on_and_one_bad_one_is_told(
    com: Com,
    photoshop: Application,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = Document_(photoshop, texture(20, 20), name="bad.psd")
    good, front = open_document(photoshop), open_document(photoshop)
    bad.select(None)
    server = ScriptedServer()
    monkeypatch.setattr("photoshop_plugin.cli.connect", lambda *_, **__: nullcontext(server))
    arguments = ["inpaint", "--prompt", "moss", "--all-open", "--lora", "ink:0.5", "--style", "s"]
    assert main(arguments, open_host=open_host(com)) == 1
    said = capsys.readouterr()
    assert said.out.count("photo.psd: Scumble: moss") == 2
    assert "bad.psd: Nothing is selected" in said.err
    assert good.history[-1].name == front.history[-1].name == "Scumble: Generative fill"
    assert photoshop.front is front
    [adapter] = server.requests[0].adapters
    assert (adapter.name, adapter.weight, server.requests[0].style) == ("ink", 0.5, "s")


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_overwrites_its_line_on_a_terminal_and_keeps_the_rest() -> None:
    plan = ScriptedServer().plan(Extent(100, 80), Bounds(10, 20, 30, 40))
    stream = Terminal()
    line = ProgressLine(stream)
    line(Submitted("j", plan.context, plan))
    line(Event(1, state=JobState.QUEUED, queue_position=2))
    line(Event(2, progress=Progress(0, 0, "Loading model", None)))
    line(Event(3, progress=Progress(1, 2, "Painting", 4.2)))
    line(Event(3, progress=Progress(1, 2, "Painting", 4.2)))
    line.say("Done.")
    shown = [text.rstrip() for text in stream.getvalue().split("\r")[1:]]
    assert shown == [
        "Repainting within 30 x 40 px at 10, 20 (job j)",
        "Waiting: 2 ahead",
        "Loading model",
        "Painting [############............] 1/2, 4 s left",
        "Done.",
    ]
    assert stream.getvalue().endswith("Done.".ljust(len(shown[3])) + "\n")
