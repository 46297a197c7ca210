"""scumble styles: the prompt templates that --style knows."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core_server.commands.options import Subparsers, add_command

if TYPE_CHECKING:
    from core_server.pipelines.words.styles import Style as OurStyle
    from scumble.client import Style

_EXAMPLES = """\
  scumble styles
  scumble generate "a fox" --style watercolour -o fox.png

Own ones stand in styles.json in the data folder of the server:
  {"my style": {"prompt": "{prompt}, in my style", "negative_prompt": "photo"}}
"""


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(
        subparsers, "styles", run, "list the prompt templates of --style", examples=_EXAMPLES
    )
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="those of the server there (SCUMBLE_SERVER)"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data folder of the server"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list, for programs")


def run(options: argparse.Namespace) -> int:
    """Lists."""
    styles = _styles(options)
    if options.json:
        print(json.dumps([dataclasses.asdict(style) for style in styles]))
        return 0
    for style in styles:
        print(f"{'+' if style.is_own else ' '} {style.name:18} {style.prompt}")
        if style.negative_prompt:
            print(f"  {'':18} not: {style.negative_prompt}")
    print("\n+ is your own, from styles.json in the data folder.")
    return 0


def _styles(options: argparse.Namespace) -> Sequence[Style | OurStyle]:
    """Those of the running server, which may be another computer's; without one it need not be started to know."""
    from core_server.commands.session import running  # noqa: PLC0415
    from core_server.config import data_dir_from_environment  # noqa: PLC0415
    from core_server.pipelines.words.styles import Styles  # noqa: PLC0415

    client = running(options)
    if client is not None:
        with client:
            return client.styles()
    return tuple(Styles(options.data_dir or data_dir_from_environment()).all().values())
