"""Hashes of large files are kept until a file changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from core_server.pipelines import hashes
from core_server.pipelines.hashes import KeptHashes, hashing_by_name


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_known", {})
    monkeypatch.setattr(hashes, "WORTH_KEEPING", 4)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once_for_each_change(tmp_path: Path) -> None:
    path, kept = tmp_path / "model.safetensors", KeptHashes(tmp_path / "hashes")
    path.write_bytes(b"first")
    assert kept.sha256_of(path) == digest(b"first")
    was = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    hashes._known.clear()
    assert kept.sha256_of(path) == digest(b"first"), "it was not read again"
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    assert kept.sha256_of(path) == digest(b"other")
    path.write_bytes(b"a longer one")
    assert kept.sha256_of(path) == digest(b"a longer one")
    assert len(list((tmp_path / "hashes").iterdir())) == 1


@pytest.mark.parametrize("entry", [b"", b"[1", b"{}", b'["a", 1]', b"\xff\xfe", b"3"], ids=repr)
def test_what_is_kept_is_broken(tmp_path: Path, entry: bytes) -> None:
    path, kept = tmp_path / "model.safetensors", KeptHashes(tmp_path / "hashes")
    path.write_bytes(b"first")
    kept.sha256_of(path)
    [file] = (tmp_path / "hashes").iterdir()
    file.write_bytes(entry)
    hashes._known.clear()
    assert kept.sha256_of(path) == digest(b"first")
    assert len(file.read_bytes()) > len(entry)


def test_small_files_are_not_kept_and_nowhere_to_keep_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "hashes").write_text("a file where the folder should be")
    kept = KeptHashes(tmp_path / "hashes")
    for content in (b"one", b"a large one"):
        path = tmp_path / "it"
        path.write_bytes(content)
        assert kept.sha256_of(path) == digest(content)
    other = KeptHashes(tmp_path / "other")
    path.write_bytes(b"one")
    assert other.sha256_of(path) == digest(b"one")
    assert not (tmp_path / "other").exists()


def test_a_folder_is_hashed_over_names_and_contents_in_order(tmp_path: Path) -> None:
    files = {}
    for number in range(9):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(bytes(number))
        files[f"part/{number}"] = path
    lines = "".join(f"part/{number}\0{digest(bytes(number))}\n" for number in range(9))
    assert hashing_by_name(files).result() == digest(lines.encode())
