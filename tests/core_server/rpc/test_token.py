"""The token's file: made once, for its owner only, never half-written."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core_server.errors import StartupError
from core_server.rpc.token import read_or_create_token

posix = pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX")


@pytest.fixture
def open_umask() -> None:
    before = os.umask(0)
    yield
    os.umask(before)


@posix
@pytest.mark.usefixtures("open_umask")
def test_made_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    token = read_or_create_token(tmp_path)
    assert len(token) == 43, "256 bits"
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert read_or_create_token(tmp_path) == token
    assert [it.name for it in tmp_path.iterdir()] == ["token"], "no drafts are left"


def test_every_folder_has_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    assert len({read_or_create_token(folder) for folder in folders}) == 2


def test_servers_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(read_or_create_token, [tmp_path] * 32))
    assert tokens == {(tmp_path / "token").read_text().strip()}


@posix
def test_a_file_open_to_others_is_closed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = read_or_create_token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    assert read_or_create_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert "Other users" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"short",
        b"two words that are long enough to be a token",
        b"\xff" * 64,
        b"a\0" * 32,
    ],
    ids=["empty", "blank", "short", "spaces", "no_text", "zeros"],
)
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(StartupError, match=r"holds no usable token.*Delete it"):
        read_or_create_token(tmp_path)
    assert (tmp_path / "token").read_bytes() == content


@posix
def test_a_link_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 43)
    elsewhere.chmod(0o644)
    (tmp_path / "token").symlink_to(elsewhere)
    with pytest.raises(StartupError, match="cannot be read"):
        read_or_create_token(tmp_path)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644, "its mode is not ours to change"
