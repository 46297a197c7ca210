"""scumble doctor: what is installed, which device, what is wrong and how to mend it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from core_server.commands.options import Subparsers, add_command

PACKAGES = ("grpcio", "protobuf", "numpy", "torch", "diffusers", "transformers", "openimageio")
MIN_FREE_BYTES = 5 * 2**30
_DEVICE_SECONDS = 120
# In a process of its own: importing torch takes seconds, and a broken driver can take a process down.
_ASK_TORCH = """\
import json, torch
found = {"torch": torch.__version__, "device": "cpu", "memory": 0}
if torch.cuda.is_available():
    properties = torch.cuda.get_device_properties(0)
    found |= {"device": f"cuda:0 ({properties.name})", "memory": properties.total_memory}
elif torch.backends.mps.is_available():
    found |= {"device": "mps"}
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. mend: what to do about it, "" if it is well. fatal: nothing works without it."""

    name: str
    found: str
    mend: str = ""
    fatal: bool = False


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = add_command(subparsers, "doctor", run, "look for what is wrong and say how to mend it")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the data folder to look at")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE.zip",
        help="also write what a bug report needs: logs, versions and counts; no prompts, pictures and tokens",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list, for programs")


def run(options: argparse.Namespace) -> int:
    """Looks at everything; 1 if something makes work impossible."""
    findings = []
    for finding in _examine(options.data_dir):
        findings.append(finding)
        if not options.json:
            mark = "ok  " if not finding.mend else "BAD " if finding.fatal else "note"
            print(f"{mark}  {finding.name:14} {finding.found}", flush=True)
            if finding.mend:
                print(f"      {'':14} -> {finding.mend}")
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    if options.bundle:
        from core_server.commands.diagnostics import write_bundle  # noqa: PLC0415
        from core_server.config import data_dir_from_environment  # noqa: PLC0415

        data_dir = options.data_dir or data_dir_from_environment()
        parts = write_bundle(options.bundle, data_dir, [asdict(finding) for finding in findings])
        print(
            f"{options.bundle} holds {', '.join(parts)}. Look into it before you send it.",
            file=sys.stderr,
        )
    return int(any(finding.fatal and finding.mend for finding in findings))


def _examine(chosen: Path | None) -> Iterator[Finding]:
    from core_server.config import data_dir_from_environment  # noqa: PLC0415

    data_dir = chosen or data_dir_from_environment()
    yield Finding(
        "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield from _packages()
    yield _device()
    yield from _folder(data_dir)
    yield from look_at_server(data_dir)


def _packages() -> Iterator[Finding]:
    for name in ("scumble", *PACKAGES):
        try:
            yield Finding(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(
                name,
                "missing",
                "Install it: python3 run.py setup, in the folder of Scumble",
                fatal=True,
            )


def _device() -> Finding:
    try:
        outcome = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=_DEVICE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(
            "device",
            f"torch did not answer in {_DEVICE_SECONDS} s",
            "A driver hangs; restart the computer, or work with --device cpu.",
            fatal=True,
        )
    if outcome.returncode:
        lines = outcome.stderr.strip().splitlines() or [f"exit status {outcome.returncode}"]
        return Finding(
            "device",
            f"torch cannot be used: {lines[-1]}",
            "Install torch again: pip install torch",
            fatal=True,
        )
    found = json.loads(outcome.stdout.splitlines()[-1])
    memory = f", {found['memory'] / 2**30:.0f} GiB" if found["memory"] else ""
    mend = ""
    if found["device"] == "cpu":
        has_driver = shutil.which("nvidia-smi") is not None
        mend = (
            "There is an NVIDIA driver: install the CUDA build of torch to use it, python3 run.py setup --gpu cu130"
            if has_driver
            else "The default model paints in seconds on a processor; larger models want a GPU."
        )
    return Finding("device", f"{found['device']}{memory}", mend)


def _folder(data_dir: Path) -> Iterator[Finding]:
    existing = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        yield Finding(
            "data folder",
            f"{data_dir} cannot be written",
            "Choose another one with --data-dir or SCUMBLE_DATA_DIR.",
            fatal=True,
        )
        return
    yield Finding("data folder", str(data_dir))
    free = shutil.disk_usage(existing).free
    full = "" if free > MIN_FREE_BYTES else "Make room, or serve with a smaller --keep-gib."
    yield Finding("free space", f"{free / 2**30:.0f} GiB", full)
    token = data_dir / "token"
    if os.name != "nt" and token.exists() and token.stat().st_mode & 0o077:
        yield Finding(
            "token",
            f"{token} can be read by others",
            f"Close it: chmod 600 {token}, and delete it if they may have.",
        )


def look_at_server(data_dir: Path) -> Iterator[Finding]:
    """The server of a data folder, and how often its caches had what was needed."""
    import scumble.client  # noqa: PLC0415

    try:
        with scumble.client.connect(data_dir=data_dir, timeout=5) as client:
            info = client.server_info()
    except scumble.client.NotRunning:
        yield Finding("server", "not running; commands start one for themselves")
        return
    except scumble.client.ScumbleError as error:
        yield Finding("server", "answers, but cannot be used", str(error), fatal=True)
        return
    said = f"Scumble {info.version} at {info.address}, {info.device or 'device not known yet'}, {info.worker_state}"
    failed = info.worker_state is scumble.client.WorkerState.FAILED
    yield Finding("server", said, info.worker_message if failed else "", fatal=failed)
    used = [
        f"{it.name} {it.hits} of {it.hits + it.misses} ({it.bytes / 2**20:.0f} MiB)"
        for it in info.caches
        if it.hits + it.misses
    ]
    if used:
        yield Finding("caches had", ", ".join(used))
