"""Programs are put together so that no text can leave its literal, and answers mean one thing."""

from __future__ import annotations

import json

import pytest
import quickjs
from hypothesis import given
from hypothesis import strategies as st

from photoshop_plugin.errors import DocumentRefused, ScriptFailed
from photoshop_plugin.host import script
from tests.fakes.photoshop.javascript import RUNTIME

ECHO = "scumbleJson(scumbleRequest.text);"


@given(st.text())
def test_any_text_arrives_unchanged_and_unevaluated(text: str) -> None:
    program = script.build("describe", {"text": text})
    assert program.isascii()
    head, _, _ = program.partition("// Facts about the front document")
    context = quickjs.Context()
    context.eval("var evaluated = false;")
    answer = context.eval(head + ECHO)
    assert json.loads(answer) == text
    assert answer.isascii()


@pytest.mark.parametrize("name", ["describe", "capture", "apply"])
def test_every_program_is_one_script(name: str) -> None:
    text = script.build(name, {})
    assert text.count("var scumbleRequest = {};") == 1
    assert text.count("scumbleRun(function (") == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (
            '{"ok":false,"code":"no_selection","message":"x","line":1}',
            DocumentRefused,
            "Nothing is selected",
        ),
        (
            '{"ok":false,"code":"script","message":"Plein.","line":12}',
            ScriptFailed,
            r"apply, line 12\): Plein",
        ),
        ("undefined", ScriptFailed, "'undefined'"),
        ("", ScriptFailed, "answered ''"),
        ('{"ok":false}', ScriptFailed, "answered"),
        ("[]", ScriptFailed, "answered"),
    ],
    ids=["known-code", "photoshops-words", "no-json", "nothing", "incomplete", "no-object"],
)
def test_answers_become_errors(answer: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        script.parse("apply", answer)


def test_every_code_of_the_programs_has_a_sentence() -> None:
    for name in ("lib", "describe", "capture", "apply"):
        for code in script._source(name).split('scumbleRefuse("')[1:]:
            assert DocumentRefused.knows(code.partition('"')[0])


def test_the_runtime_of_the_tests_knows_no_json_helpers_of_ours() -> None:
    assert "scumble" not in RUNTIME
