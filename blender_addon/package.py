"""Builds the extension's zip: the add-on, our client as a wheel, and grpc's wheels from the package index.

    python -m blender_addon.package [--out dist] [--platform current|all|linux-x64|...] [--install [BLENDER]]

Stands outside the add-on: not packed, and nothing in the add-on imports it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import platform
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
NOT_PACKED = {"package.py", "demo_scene.py", "wheels.txt", "py.typed"}

PLATFORMS = {
    "linux-x64": "manylinux2014_x86_64",
    "windows-x64": "win_amd64",
    "macos-arm64": "macosx_11_0_arm64",
    "macos-x64": "macosx_11_0_x86_64",
}
"""Blender's names of the platforms, and pip's. There is no grpcio wheel for Windows on ARM."""

PYTHONS = ("3.11", "3.13")
"""Blender 4.2 to 5.0, and 5.1 on."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same input gives the same bytes


class PackagingError(Exception):
    """The zip could not be built; the message says what to do."""


def current_platform() -> str:
    """Blender's name of this computer's platform. Raises PackagingError where there are no wheels for it."""
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(
        sys.platform, sys.platform
    )
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    name = f"{system}-{machine}"
    if name not in PLATFORMS:
        raise PackagingError(
            f"There is no grpcio wheel for {name}; there are: {', '.join(PLATFORMS)}."
        )
    return name


def build(
    out_dir: Path,
    platforms: Sequence[str] = tuple(PLATFORMS),
    pythons: Sequence[str] = PYTHONS,
    wheel_dir: Path | None = None,
) -> Path:
    """Writes `scumble-<version>[-<platform>].zip` into out_dir and returns its path.

    platforms: names from PLATFORMS. pythons: which of Blender's. wheel_dir: where downloaded wheels are kept; default
    `wheels` in out_dir. Needs the package index once. Raises PackagingError.
    """
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms:
        raise PackagingError(f"{unknown} is no platform; there are: {', '.join(PLATFORMS)}.")
    manifest = (SOURCE / "blender_manifest.toml").read_text(encoding="utf-8")
    version = tomllib.loads(manifest)["version"]
    wheel_dir = wheel_dir or out_dir / "wheels"
    wheel_dir.mkdir(parents=True, exist_ok=True)
    client = build_client_wheel(wheel_dir, version)
    wheels = {client.name: client}  # by name: platforms and Pythons share some
    for name in platforms:
        for python in pythons:
            found = _download(wheel_dir, PLATFORMS[name], python)
            wheels.update({wheel.name: wheel for wheel in found})
    suffix = "" if set(platforms) == set(PLATFORMS) else "-" + "-".join(platforms).replace("-", "_")
    archive = out_dir / f"scumble-{version}{suffix}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        _write(
            packed,
            "blender_manifest.toml",
            complete_manifest(manifest, platforms, sorted(wheels)).encode(),
        )
        for path in _addon_files():
            _write(packed, path.relative_to(SOURCE).as_posix(), path.read_bytes())
        for wheel_name, wheel in sorted(wheels.items()):
            _write(packed, f"wheels/{wheel_name}", wheel.read_bytes(), zipfile.ZIP_STORED)
    return archive


def install(archive: Path, blender: str = "blender") -> None:
    """Installs and enables the zip in the user's Blender (4.2 or newer). Raises PackagingError with Blender's words."""
    command = [blender, "--command", "extension", "install-file", "--repo", "user_default"]
    try:
        done = subprocess.run(
            [*command, "--enable", str(archive)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise PackagingError(
            f"Blender could not be started ({error}): give the path of its program, or drag {archive} into a Blender "
            "window."
        ) from error
    if done.returncode != 0:
        raise PackagingError(
            f"Blender refused the extension: {(done.stderr or done.stdout).strip()}"
        )


def complete_manifest(manifest: str, platforms: Sequence[str], wheels: Sequence[str]) -> str:
    """The manifest with the platforms and wheels that are packed; they stand before its first table."""
    head, bracket, tables = manifest.partition("\n[")
    lines = [head.rstrip(), "platforms = [", *(f'  "{name}",' for name in platforms), "]"]
    lines += ["wheels = [", *(f'  "./wheels/{name}",' for name in wheels), "]", ""]
    return "\n".join(lines) + bracket + tables


def build_client_wheel(wheel_dir: Path, version: str) -> Path:
    """`scumble` (contract and client) as a pure wheel.

    Blender unpacks a wheel only if its version is new, so the version ends in a digest of the contents.
    """
    root = _client_source()
    files = {
        f"scumble/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.suffix in (".py", ".pyi", ".typed") and "__pycache__" not in path.parts
    }
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(name.encode() + b"\0" + data)
    full = f"{version}+{digest.hexdigest()[:12]}"
    info = f"scumble_client-{full}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: scumble-client\nVersion: {full}\nRequires-Python: >=3.11\n"
        "Requires-Dist: grpcio\nRequires-Dist: protobuf\n"
    ).encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: scumble\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(f"{name},{_record_hash(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    wheel = wheel_dir / f"scumble_client-{full}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, data in files.items():
            _write(packed, name, data)
    return wheel


def _client_source() -> Path:
    """Folder of the `scumble` package: as installed, else as it stands in the repository."""
    spec = importlib.util.find_spec("scumble")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return SOURCE.parent / "protos" / "scumble"


def _addon_files() -> Iterable[Path]:
    for path in sorted(SOURCE.rglob("*")):
        relative = path.relative_to(SOURCE)
        packed = path.suffix == ".py" or path.name == "LICENSE"
        if packed and relative.as_posix() not in NOT_PACKED:
            yield path


def _download(wheel_dir: Path, platform_tag: str, python: str) -> set[Path]:
    """The pinned wheels for one platform and Python, kept in a folder of their own so that a second build is quick."""
    pins = (SOURCE / "wheels.txt").read_text(encoding="utf-8")
    digest = hashlib.sha256(pins.encode()).hexdigest()[:12]
    folder = wheel_dir / f"{platform_tag}-{python}-{digest}"
    wanted = sum("==" in line for line in pins.splitlines())
    if len(found := set(folder.glob("*.whl"))) == wanted:
        return found
    short = python.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", python, "--platform", platform_tag]
    for abi in (f"cp{short}", "abi3", "none"):
        command += ["--abi", abi]
    command += ["--dest", str(folder), "--requirement", str(SOURCE / "wheels.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackagingError(
            f"pip could not fetch the wheels for {platform_tag}, Python {python}: {done.stderr.strip()}"
        )
    return set(folder.glob("*.whl"))


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _write(
    packed: zipfile.ZipFile, name: str, data: bytes, how: int = zipfile.ZIP_DEFLATED
) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = how
    entry.external_attr = 0o644 << 16
    packed.writestr(entry, data)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="blender_addon.package", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the zip")
    parser.add_argument(
        "--platform",
        default="all",
        choices=("all", "current", *PLATFORMS),
        help="what to pack wheels for",
    )
    parser.add_argument(
        "--install",
        nargs="?",
        const="blender",
        metavar="BLENDER",
        help="also install the zip into Blender: its program, by default the one on the PATH",
    )
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    try:
        match chosen.platform:
            case "all":
                platforms = tuple(PLATFORMS)
            case "current":
                platforms = (current_platform(),)
            case name:
                platforms = (name,)
        archive = build(chosen.out, platforms)
        if chosen.install:
            install(archive, chosen.install)
    except PackagingError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(archive)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
