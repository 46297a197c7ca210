"""The bundle of `scumble doctor --bundle`: what a maintainer asks for, without prompts, pictures, names and secrets."""

from __future__ import annotations

import json
import platform
import re
import sqlite3
import time
import zipfile
from collections.abc import Iterable
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

_LOG_BYTES = 2 * 1024 * 1024
_LONG = re.compile(r"[A-Za-z0-9_-]{43,}")
"""What could be a token; hashes of images and jobs are hex and shorter or look different."""
_HEX = re.compile(r"[0-9a-f]+")


def write_bundle(path: Path, data_dir: Path, findings: Iterable[dict[str, Any]]) -> list[str]:
    """Writes a zip file and returns the names of what is in it."""
    parts = {
        "about.json": _json(
            {
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "machine": platform.machine(),
            }
        ),
        "doctor.json": _json(list(findings)),
        "packages.txt": "\n".join(
            sorted(f"{it.metadata['Name']} {it.version}" for it in metadata.distributions())
        ),
        "jobs.json": _json(_jobs(data_dir / "jobs.sqlite3")),
        "files.txt": "\n".join(_files(data_dir)),
    }
    config = data_dir / "config.toml"
    if config.is_file():
        parts["config.toml"] = config.read_text(encoding="utf-8", errors="replace")
    for log in sorted((data_dir / "logs").glob("*.log")):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            parts[f"logs/{log.name}"] = file.read().decode("utf-8", "replace")
    secrets = _secrets(data_dir)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in parts.items():
            bundle.writestr(name, _clean(text, secrets))
    return list(parts)


def _clean(text: str, secrets: Iterable[str]) -> str:
    """Without the tokens, whatever looks like one, and the name of the home folder."""
    for secret in secrets:
        text = text.replace(secret, "<secret>")
    text = _LONG.sub(lambda it: it[0] if _HEX.fullmatch(it[0]) else "<secret>", text)
    return text.replace(str(Path.home()), "~")


def _secrets(data_dir: Path) -> list[str]:
    found = []
    for name in ("token", "paired.json"):
        try:
            text = (data_dir / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found += list(re.findall(r"[!-~]{22,}", text.replace('"', " ")))
    return found


def _jobs(path: Path) -> dict[str, Any]:
    """Counts alone: what was asked for stays here."""
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            states = database.execute("SELECT state, count(*) FROM jobs GROUP BY state")
            told: dict[str, Any] = {"schema": version, "states": dict(states.fetchall())}
            reasons = database.execute(
                "SELECT json_extract(failure, '$.reason'), count(*) FROM jobs WHERE failure NOT NULL GROUP BY 1"
            )
            told["failures"] = dict(reasons.fetchall())
            told["sound"] = database.execute("PRAGMA quick_check").fetchone()[0]
            return told
    except sqlite3.Error as error:
        return {"error": str(error)}


def _files(data_dir: Path) -> list[str]:
    """Folders with the number and size of what is in them; no names of models or pictures."""
    lines = []
    for entry in sorted(data_dir.glob("*")):
        files = [entry] if entry.is_file() else [it for it in entry.rglob("*") if it.is_file()]
        size = sum(it.stat().st_size for it in files)
        lines.append(
            f"{entry.name}: {len(files)} files, {size} bytes, mode {entry.stat().st_mode & 0o777:o}"
        )
    return lines


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=str)
