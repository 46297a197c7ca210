"""The extension's zip, as far as it can be made without the package index."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import scumble
from blender_addon import package


def test_manifest_names_what_is_packed_and_agrees_with_the_client() -> None:
    source = (package.SOURCE / "blender_manifest.toml").read_text(encoding="utf-8")
    whole = package.complete_manifest(source, ["linux-x64"], ["a.whl", "b.whl"])
    parsed = tomllib.loads(whole)
    assert parsed["platforms"] == ["linux-x64"]
    assert parsed["wheels"] == ["./wheels/a.whl", "./wheels/b.whl"]
    assert parsed["version"] == scumble.__version__
    assert parsed["permissions"]["network"][-1] not in ".!?"
    assert len(parsed["tagline"]) <= 64


def test_the_client_wheel_is_a_wheel_and_changes_its_version_with_its_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = package.build_client_wheel(tmp_path, "0.1.0")
    assert package.build_client_wheel(tmp_path, "0.1.0") == wheel
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    assert (target / "scumble" / "client" / "__init__.py").is_file()
    assert (target / "scumble" / "v1" / "job_pb2.py").is_file()

    changed = tmp_path / "scumble"
    changed.mkdir()
    (changed / "__init__.py").write_text("")
    monkeypatch.setattr(package, "_client_source", lambda: changed)
    assert package.build_client_wheel(tmp_path, "0.1.0").name != wheel.name


def test_the_zip_has_the_addon_and_not_its_workshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = tmp_path / "grpcio-1-py3-none-any.whl"
    third.write_bytes(b"wheel")
    monkeypatch.setattr(package, "_download", lambda *_: {third})
    archive = package.build(tmp_path, ["linux-x64"])
    assert archive.name == f"scumble-{scumble.__version__}-linux_x64.zip"
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
    assert len(names) == len(set(names))
    assert {"__init__.py", "blender_manifest.toml", "bridge/session.py"} <= set(names)
    assert f"wheels/{third.name}" in names
    assert not {"package.py", "demo_scene.py", "wheels.txt"} & set(names)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")
def test_install_calls_blenders_own_command_and_tells_its_words(tmp_path: Path) -> None:
    blender = tmp_path / "blender"
    blender.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"open({str(tmp_path / 'called')!r}, 'w').write(' '.join(sys.argv[1:]))\n"
        "sys.exit('Package is broken' if 'bad' in sys.argv[-1] else 0)\n"
    )
    blender.chmod(0o755)
    package.install(Path("good.zip"), str(blender))
    assert (tmp_path / "called").read_text() == (
        "--command extension install-file --repo user_default --enable good.zip"
    )
    with pytest.raises(package.PackagingError, match="Package is broken"):
        package.install(Path("bad.zip"), str(blender))
    with pytest.raises(package.PackagingError, match="could not be started"):
        package.install(Path("good.zip"), str(tmp_path / "nothing"))


def test_unknown_platform() -> None:
    with pytest.raises(package.PackagingError, match=r"amiga.*linux-x64"):
        package.build(Path(), ["amiga"])
