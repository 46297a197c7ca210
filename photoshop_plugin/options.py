"""The options of the commands that paint, and what is asked for with them."""

from __future__ import annotations

import argparse

from photoshop_plugin.document import Sides
from photoshop_plugin.settings import Settings
from photoshop_plugin.task import Task
from scumble.client import Adapter, AdapterKind, CanvasOptions, DenoiserPrecision

_UPSCALE_STRENGTH, _EXTEND_STRENGTH = 0.3, 0.85
"""The client's own defaults: detail is added, nothing is repainted; what is new goes on from what is there."""


def settings_of(options: argparse.Namespace) -> Settings:
    """What the options of `add_settings` ask for; the source stays what it is by default."""
    strength = options.strength
    if strength is None:
        strength = _default_strength(options)
    return Settings(
        prompt=options.prompt,
        negative_prompt=options.negative_prompt,
        strength=strength,
        model=options.model,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        scheduler=options.scheduler,
        seed=options.seed,
        count=options.count,
        style=options.style,
        adapters=tuple(options.lora),
        few_step=options.few_step,
        guidance_end=options.guidance_end,
        block_cache=options.block_cache,
        denoiser_precision=options.denoiser_precision,
        task=options.task,
        sides=Sides(options.left, options.top, options.right, options.bottom),
        factor=options.factor,
        pattern_side=options.size,
        options=CanvasOptions(exact_selection=options.exact_selection),
    )


def _default_strength(options: argparse.Namespace) -> float:
    if options.task is Task.UPSCALE:
        return _UPSCALE_STRENGTH
    grows = any((options.left, options.top, options.right, options.bottom))
    return _EXTEND_STRENGTH if options.task is Task.EXTEND and grows else 1.0


def add_settings(command: argparse.ArgumentParser, task: Task | None) -> None:
    """Adds the options. task: what the command does; None lets `--task` say."""
    if task is None:
        command.add_argument(
            "--task",
            type=Task,
            choices=list(Task),
            default=Task.AUTO,
            metavar="TASK",
            help=f"{', '.join(Task)} (default auto: what selection and prompt suggest)",
        )
    else:
        command.set_defaults(task=task)
    command.add_argument("--prompt", default="", metavar="TEXT", help="what to paint")
    command.add_argument("--negative-prompt", default="", metavar="TEXT", help="what to avoid")
    command.add_argument(
        "--strength",
        type=float,
        metavar="X",
        help="above 0 and at most 1; 1 repaints wholly (default 1, for upscale 0.3, for a larger canvas 0.85; remove "
        "takes 0.8 at most)",
    )
    command.add_argument(
        "--seed", type=int, metavar="N", help="start of the noise; drawn if not given"
    )
    command.add_argument(
        "--count", type=int, default=1, metavar="N", help="variations, one layer each"
    )
    command.add_argument("--model", default="", metavar="ID", help="a model the server has")
    command.add_argument("--num-inference-steps", type=int, metavar="N", help="denoising steps")
    command.add_argument(
        "--guidance-scale", type=float, metavar="X", help="how closely to follow the prompt"
    )
    command.add_argument(
        "--scheduler", default="", metavar="NAME", help="a scheduler the model can use"
    )
    command.add_argument("--style", default="", metavar="NAME", help="see `scumble styles`")
    command.add_argument(
        "--lora",
        type=_lora,
        action="append",
        default=[],
        metavar="NAME[:WEIGHT]",
        help="a LoRA that the server has, weight -2..2 (1); may be given again",
    )
    _add_speed(command)
    extend = task in (Task.EXTEND, None)
    for side in Sides._fields:
        command.add_argument(
            f"--{side}",
            type=_pixels,
            default=0,
            metavar="PX",
            help=f"canvas to add: {side}" if extend else argparse.SUPPRESS,
        )
    command.add_argument(
        "--factor",
        type=int,
        default=2,
        choices=(2, 4),
        help="how many times as large" if task in (Task.UPSCALE, None) else argparse.SUPPRESS,
    )
    command.add_argument(
        "--size",
        type=_pixels,
        default=512,
        metavar="PX",
        help="side of the pattern (512)" if task in (Task.PATTERN, None) else argparse.SUPPRESS,
    )
    command.add_argument(
        "--exact-selection",
        action="store_true",
        help="the selection itself becomes the layer mask, soft edges and all",
    )


def _add_speed(command: argparse.ArgumentParser) -> None:
    """What is faster; all but the first at a cost in quality."""
    command.add_argument(
        "--few-step",
        action=argparse.BooleanOptionalAction,
        help="paint with the model's few-step weights, or not (default: as the model does by itself)",
    )
    command.add_argument(
        "--guidance-end",
        type=float,
        metavar="X",
        help="faster with a loss: guide only this share of the steps, above 0 and at most 1 (models with a UNet)",
    )
    command.add_argument(
        "--block-cache",
        type=float,
        metavar="X",
        help="faster with a loss: threshold 0..1 of the first block cache, such as 0.08 (FLUX, Qwen-Image)",
    )
    command.add_argument(
        "--denoiser-precision",
        choices=tuple(DenoiserPrecision),
        help="faster with a loss: the denoiser computes in 8 bit, where the server's GPU has the format",
    )


def _lora(text: str) -> Adapter:
    """NAME or NAME:WEIGHT. Raises ArgumentTypeError for a weight that is none."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        return Adapter(AdapterKind.LORA, text)
    try:
        return Adapter(AdapterKind.LORA, name, float(weight))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no NAME or NAME:WEIGHT; the weight is a number from -2 to 2"
        ) from error


def _pixels(text: str) -> int:
    """A number of px, 0 or more. Raises ArgumentTypeError for others."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of px, 0 or more")
    return int(text)
