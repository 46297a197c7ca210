"""config.toml in the data folder: what `scumble serve` would otherwise be told on its command line, and all limits.

    [server]
    host = "0.0.0.0"
    tls = true

    [limits]
    max_queued_jobs = 200

    [tiers]
    graphs = false

    [batching]
    pictures = 4

What stands on the command line counts more. A key that is unknown, or of another type, is refused: a limit that was
misspelt would otherwise not be one.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

from core_server.config import Batching, Limits, ServerConfig, Tiers
from core_server.errors import StartupError
from core_server.ranges import COUNT, STEPS

CONFIG_FILE = "config.toml"
_NOT_IN_THE_FILE = {"data_dir", "limits", "tiers", "batching", "runtime_factory"}
_MAX_BYTES = 1024 * 1024


def read_config(data_dir: Path, path: Path | None = None, **chosen: Any) -> ServerConfig:
    """The configuration: `chosen` where it is not None, else the file's, else the defaults.

    chosen: fields of `ServerConfig`, and of `Limits` by their names. path: another file than the data folder's own,
    which must then be there. Errors: StartupError.
    """
    file = path or data_dir / CONFIG_FILE
    tables = _read(file, needed=path is not None)
    for name in tables:
        if name not in ("server", "limits", "tiers", "batching"):
            raise StartupError(
                f"{file}: there is no table [{name}]; there are [server], [limits], [tiers] and [batching]."
            )
    given = {name: value for name, value in chosen.items() if value is not None}
    limit_names = {field.name for field in dataclasses.fields(Limits)}
    limits = _table(tables, "limits", Limits, file)
    limits |= {name: value for name, value in given.items() if name in limit_names}
    server = _table(tables, "server", ServerConfig, file)
    server |= {name: value for name, value in given.items() if name not in limit_names}
    tiers = Tiers(**_table(tables, "tiers", Tiers, file))
    batching = Batching(**_table(tables, "batching", Batching, file))
    return ServerConfig(
        data_dir=data_dir, limits=Limits(**limits), tiers=tiers, batching=batching, **server
    )


def _read(file: Path, *, needed: bool) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode()
        return tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        if not needed:
            return {}
        raise StartupError(f"There is no configuration file {file}.") from None
    except OSError as error:
        raise StartupError(
            f"The configuration file {file} cannot be read ({error.strerror})."
        ) from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise StartupError(f"The configuration file {file} is no TOML: {error}.") from error


def _table(tables: dict[str, Any], name: str, kind: type, file: Path) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise StartupError(f"{file}: [{name}] must be a table.")
    hints = typing.get_type_hints(kind)
    known = {it.name: hints[it.name] for it in dataclasses.fields(kind)}
    known = {key: hint for key, hint in known.items() if key not in _NOT_IN_THE_FILE}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise StartupError(f"{file}: [{name}] has no {key!r}; it may have {', '.join(known)}.")
        values[key] = _value(value, known[key], f"{file}: {name}.{key}")
    return values


def _value(value: Any, hint: Any, where: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if Path in kinds and isinstance(value, str):
        return Path(value).expanduser()
    choices = next((kind for kind in kinds if issubclass(kind, StrEnum)), None)
    if choices is not None:
        if value not in list(choices):
            raise StartupError(f"{where} is {value!r}; it must be one of {', '.join(choices)}.")
        return choices(value)
    if not any(type(value) is kind for kind in kinds):
        wanted = " or ".join(
            {int: "a whole number", str: "text", bool: "true or false", Path: "a path"}[kind]
            for kind in kinds
            if kind is not types.NoneType
        )
        raise StartupError(f"{where} is {value!r}; it must be {wanted}.")
    if type(value) is int and not 0 <= value <= _most(where):
        raise StartupError(f"{where} is {value}; it must be from 0 to {_most(where)}.")
    return value


def _most(where: str) -> int:
    """What the contract has room for: 64 bit for bytes and pixels, 32 bit for everything else; what pipelines do."""
    if where.endswith("_percent"):
        return 100
    if where.endswith(".max_steps"):
        return int(STEPS.high)
    if where.endswith((".max_count", ".pictures")):
        return int(COUNT.high)
    wide = where.endswith(("_bytes", ".max_pixels", "_age_seconds"))
    return 2**63 - 1 if wide else 2**31 - 1
