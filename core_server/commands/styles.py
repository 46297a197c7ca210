"""scumble styles: the prompt templates that --style knows."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from core_server.commands.options import Subparsers, add_command

_EXAMPLES = """\
  scumble styles
  scumble generate "a fox" --style watercolour -o fox.png

Own ones stand in styles.json in the data folder:
  {"my style": {"prompt": "{prompt}, in my style", "negative_prompt": "photo"}}
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers, "styles", run, "list the prompt templates of --style", examples=_EXAMPLES
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data folder with styles.json"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def run(options: argparse.Namespace) -> int:
    """Lists."""
    from core_server.config import data_dir_from_environment  # noqa: PLC0415
    from core_server.pipelines.words.styles import Styles  # noqa: PLC0415

    styles = Styles(options.data_dir or data_dir_from_environment()).all()
    if options.json:
        print(json.dumps([dataclasses.asdict(style) for style in styles.values()]))
        return 0
    for style in styles.values():
        print(f"{'+' if style.is_own else ' '} {style.name:18} {style.prompt}")
        if style.negative_prompt:
            print(f"  {'':18} not: {style.negative_prompt}")
    print("\n+ is your own, from styles.json in the data folder.")
    return 0
