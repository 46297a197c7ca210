"""What is left out means the same to the panel and the commands as to the client."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from photoshop_plugin.generation import prepare
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


def test_what_is_faster_reaches_the_request() -> None:
    """By a pattern, which needs no document."""
    parser = argparse.ArgumentParser()
    add_settings(parser, Task.PATTERN)

    def asked(*arguments: str) -> tuple[object, ...]:
        settings = settings_of(parser.parse_args(["--prompt", "moss", *arguments]))
        request = prepare(None, None, settings).request
        return (
            request.few_step,
            request.guidance_end,
            request.block_cache,
            request.denoiser_precision,
        )

    assert asked() == (None, None, None, None)
    given = ("--no-few-step", "--guidance-end", "0.5", "--block-cache", "0.1")
    assert asked(*given, "--denoiser-precision", "fp8") == (False, 0.5, 0.1, "fp8")


def test_the_panel_lends_the_same_strengths() -> None:
    form = pytest.importorskip("photoshop_plugin.panel.form", exc_type=ImportError)
    assert form.EXTEND_STRENGTH == round(100 * default_strength(Outpaint)) == 85
    assert round(100 * default_strength(Upscale)) == form.UPSCALE_STRENGTH
    assert round(100 * Inpaint.REMOVE_STRENGTH) == form.REMOVE_STRENGTH
