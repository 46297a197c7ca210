"""What is left out means the same to the panel and the commands as to the client."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from photoshop_plugin.options import add_settings, settings_of
from photoshop_plugin.task import Task
from scumble.client import Inpaint, Outpaint, Upscale


def default_strength(request: type) -> float:
    [field] = (it for it in dataclasses.fields(request) if it.name == "strength")
    return float(field.default)


@pytest.mark.parametrize(
    ("task", "arguments", "request_type"),
    [
        (Task.FILL, [], Inpaint),
        (Task.EXTEND, [], Inpaint),  # what is transparent is filled
        (Task.EXTEND, ["--left", "9"], Outpaint),
        (Task.EXTEND, ["--bottom", "9"], Outpaint),
        (Task.UPSCALE, [], Upscale),
    ],
    ids=["fill", "fill transparent", "grow left", "grow below", "upscale"],
)
def test_a_strength_left_out_is_the_clients(
    task: Task, arguments: list[str], request_type: type
) -> None:
    for fixed in (task, None):
        parser = argparse.ArgumentParser()
        add_settings(parser, fixed)
        given = arguments if fixed else [*arguments, "--task", task]
        strength = settings_of(parser.parse_args(given)).strength
        assert strength == default_strength(request_type)


def test_the_panel_lends_the_same_strengths() -> None:
    form = pytest.importorskip("photoshop_plugin.panel.form", exc_type=ImportError)
    assert form.EXTEND_STRENGTH == round(100 * default_strength(Outpaint)) == 85
    assert round(100 * default_strength(Upscale)) == form.UPSCALE_STRENGTH
    assert round(100 * Inpaint.REMOVE_STRENGTH) == form.REMOVE_STRENGTH
