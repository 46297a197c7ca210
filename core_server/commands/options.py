"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_server.commands.adapter_options import adapter_settings, add_adapter_options

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse._SubParsersAction

PRIORITIES = ("interactive", "normal", "batch")
SEAMLESS = ("none", "x", "y", "xy")
PRECISIONS = ("fp8", "int8", "loaded")
MAPS = ("normal", "roughness", "height", "ambient_occlusion")


def add_command(
    subparsers: Subparsers,
    name: str,
    run: Any,
    summary: str,
    *,
    examples: str = "",
    description: str = "",
) -> argparse.ArgumentParser:
    """A parser for one command with `--debug`, its summary and its examples."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.set_defaults(run=run)
    return parser


def add_server_options(parser: argparse.ArgumentParser, *, with_json: bool = True) -> None:
    """Where the server is, or which one to start; with_json: also `--json`."""
    group = parser.add_argument_group(
        "server",
        "Without these: the running server of the data folder, or one started for this command.",
    )
    group.add_argument(
        "--server", metavar="HOST:PORT", help="use the server there (SCUMBLE_SERVER)"
    )
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the data folder with the token, jobs and models (SCUMBLE_DATA_DIR)",
    )
    group.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda, cuda:N or mps; only for a server that is started here",
    )
    if with_json:
        group.add_argument(
            "--json", action="store_true", help="print one JSON object, for programs"
        )


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """The settings all diffusion tasks share."""
    group = parser.add_argument_group(
        "painting",
        "What is left out takes the model's own default; the picture's recipe tells which.",
    )
    group.add_argument("--negative-prompt", metavar="TEXT", help="what to avoid")
    group.add_argument(
        "--num-inference-steps", type=int, metavar="N", help="denoising steps, 1..1000"
    )
    group.add_argument(
        "--guidance-scale",
        type=float,
        metavar="X",
        help="classifier-free guidance weight, 0..50; 1 turns it off",
    )
    group.add_argument("--scheduler", metavar="NAME", help="such as euler or dpmpp_2m_karras")
    group.add_argument(
        "--seed", type=int, metavar="N", help="start of the noise; drawn if left out"
    )
    group.add_argument(
        "--count",
        type=int,
        default=1,
        metavar="N",
        help="variations, with seeds N, N+1 ...; OUT-1, OUT-2 ...",
    )
    group.add_argument("--seamless", choices=SEAMLESS, help="axes along which the result tiles")
    group.add_argument(
        "--few-step",
        action=argparse.BooleanOptionalAction,
        help="paint with the model's few-step weights, or not (on a processor they are the default if the model has "
        "them and steps, guidance and scheduler are left to it)",
    )
    group.add_argument(
        "--guidance-end",
        type=float,
        metavar="X",
        help="faster with a loss: guide only this share of the steps, above 0 and at most 1 (models with a UNet)",
    )
    group.add_argument(
        "--block-cache",
        type=float,
        metavar="X",
        help="faster with a loss: threshold 0..1 of the first block cache, such as 0.08 (FLUX, Qwen-Image)",
    )
    group.add_argument(
        "--denoiser-precision",
        choices=PRECISIONS,
        help="faster with a loss: the denoiser computes in 8 bit, where the GPU has the format; loaded: it does not",
    )
    group.add_argument(
        "--model",
        metavar="ID|DIR",
        help="an installed model, a diffusers folder or a .safetensors file",
    )
    add_adapter_options(parser)
    add_priority(parser)


def add_priority(parser: argparse.ArgumentParser) -> None:
    """`--priority`."""
    parser.add_argument(
        "--priority",
        choices=PRIORITIES,
        default="normal",
        help="among your own waiting jobs: interactive goes before normal (the default), batch after it",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """`-o`."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="where the picture goes: .png .tif .webp .jpg, and .exr for floats; a file that is there is replaced",
    )


def add_map_options(parser: argparse.ArgumentParser, empty: str) -> None:
    """`--map` and `--height-bits`. empty: what no map means."""
    parser.add_argument(
        "--map",
        dest="maps",
        action="append",
        choices=(*MAPS, "all"),
        metavar="NAME",
        help=f"{', '.join(MAPS)} or all; may be given several times ({empty})",
    )
    parser.add_argument(
        "--height-bits",
        type=int,
        choices=(8, 16),
        default=8,
        help="bits of the height map (default 8); 16 where it displaces a surface",
    )


def map_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The maps wanted as keyword arguments of the client's requests."""
    names = options.maps or ()
    return {
        "maps": MAPS if "all" in names else tuple(dict.fromkeys(names)),
        "height_sample_type": f"u{options.height_bits}",
    }


def common_settings(
    options: argparse.Namespace, recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The shared settings as keyword arguments of the client's requests: as given, else from `recipe`.

    `structure` too, for the command that has it.
    """
    earlier = recipe or {}

    def chosen(name: str, otherwise: Any) -> Any:
        given = getattr(options, name, None)
        return earlier.get(name, otherwise) if given is None else given

    precision = chosen("denoiser_precision", None)
    return {
        "negative_prompt": chosen("negative_prompt", ""),
        "model": model_name(chosen("model", ""), options.data_dir),
        "num_inference_steps": chosen("num_inference_steps", None),
        "guidance_scale": chosen("guidance_scale", None),
        "scheduler": chosen("scheduler", ""),
        "seed": chosen("seed", None),
        "count": options.count,
        "seamless": chosen("seamless", "none"),
        "structure": chosen("structure", "auto"),
        "few_step": chosen("few_step", None),
        "guidance_end": chosen("guidance_end", None),
        "block_cache": chosen("block_cache", None),
        "denoiser_precision": None if precision == "loaded" else precision,
        **adapter_settings(options, recipe),
    }


def model_name(model: str, data_dir: Path | None = None) -> str:
    """A model that is a path here is named by its whole path: the server may run in another folder.

    data_dir: of the server, None for the usual one. What is installed there goes before a file or folder of the same
    name in the current folder, such as the download that it was installed from.
    """
    if not model:
        return model
    from scumble.client.discovery import default_data_dir  # noqa: PLC0415

    path = Path(model).expanduser()
    if path.name == model:
        is_installed = ((data_dir or default_data_dir()) / "models" / model).exists()
        is_model = path.is_file() or (path / "model_index.json").is_file()
        if is_installed or not is_model:
            return model
    looks_like_path = model.startswith((".", "~", "/")) or "\\" in model
    return str(path.resolve()) if looks_like_path or path.exists() else model
