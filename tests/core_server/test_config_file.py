"""config.toml: everything can stand in it, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core_server.config import ContentFilter, Limits, ServerConfig
from core_server.config_file import read_config
from core_server.errors import StartupError
from scumble.client.values import Limits as ClientLimits
from scumble.v1 import server_service_pb2


def written(folder: Path, text: str) -> Path:
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return folder


def test_without_a_file_the_defaults_count(tmp_path: Path) -> None:
    assert read_config(tmp_path) == ServerConfig(data_dir=tmp_path)


def test_every_limit_can_stand_in_the_file_and_is_told_to_clients(tmp_path: Path) -> None:
    names = [field.name for field in dataclasses.fields(Limits)]
    lines = "\n".join(f"{name} = {1 + number}" for number, name in enumerate(names))
    config = read_config(written(tmp_path, f"[limits]\n{lines}"))
    assert [getattr(config.limits, name) for name in names] == [1 + k for k in range(len(names))]
    told = set(server_service_pb2.Limits.DESCRIPTOR.fields_by_name)
    assert told == set(names) == {field.name for field in dataclasses.fields(ClientLimits)}


def test_the_command_line_counts_more_than_the_file(tmp_path: Path) -> None:
    written(
        tmp_path, '[server]\nport = 1\nmodel = "a"\ntls_cert = "~/c.pem"\n[limits]\nmax_steps = 5'
    )
    config = read_config(tmp_path, port=2, max_store_bytes=7, model=None)
    assert (config.port, config.model) == (2, "a")
    assert (config.limits.max_steps, config.limits.max_store_bytes) == (5, 7)
    assert config.tls_cert == Path("~/c.pem").expanduser()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\nmax_stepz = 5", r"\[limits\] has no 'max_stepz'.*max_steps"),
        ("[limits]\nmax_steps = '5'", "limits.max_steps is '5'; it must be a whole number"),
        ("[limits]\nmax_steps = true", "a whole number"),
        ("[limits]\nmax_steps = -1", "must be from 0 to 1000"),
        ("[limits]\nmax_count = 65", "must be from 0 to 64"),
        ("[limits]\nmax_connections = 3000000000", "from 0 to 2147483647"),
        ("[server]\nport = 4.5", "a whole number"),
        ("[server]\ncontent_filter = 'on'", "is 'on'; it must be one of off, warn, block"),
        ("[server]\ncontent_filter_percent = 101", "must be from 0 to 100"),
        ("[server]\ndata_dir = '/x'", "has no 'data_dir'"),
        ("[server]\nruntime_factory = 'os:system'", "has no 'runtime_factory'"),
        ("limits = 3", "must be a table"),
        ("[sever]\nport = 4", r"no table \[sever\]"),
        ("port 4", "no TOML"),
        ("\udcff", "no TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StartupError, match=words):
        read_config(tmp_path)


def test_the_content_filter(tmp_path: Path) -> None:
    assert read_config(tmp_path).content_filter is ContentFilter.OFF
    config = read_config(written(tmp_path, '[server]\ncontent_filter = "block"'))
    assert (config.content_filter, config.content_filter_percent) == (ContentFilter.BLOCK, 80)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no configuration file"):
        read_config(tmp_path, tmp_path / "other.toml")
