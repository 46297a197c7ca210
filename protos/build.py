"""Generates the Python side of the contract. The only caller of protoc.

    python protos/build.py            writes *_pb2.py, *_pb2.pyi and *_pb2_grpc.py beside the .proto files
    python protos/build.py --check    regenerates into a temporary folder and fails if anything differs

The compiler is an old one on purpose (protobuf 5.29): generated code runs on its own and every newer runtime, and
hosts such as Blender share one protobuf among all add-ons. It lives in an environment of its own, `.venv-protos`,
because it must not pull the runtime down to its version.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
COMPILER_ENV = ROOT.parent / ".venv-protos"
COMPILER = (
    "grpcio-tools==1.71.2",
    "protobuf==5.29.5",
    "mypy-protobuf==3.6.0",
    "setuptools==80.9.0",
)
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def compiler_python() -> Path:
    """Path of the compiler environment's interpreter; makes the environment on first use (needs pip's index once)."""
    python = COMPILER_ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = COMPILER_ENV / "compiler.txt"
    if not (stamp.is_file() and stamp.read_text() == "\n".join(COMPILER)):
        venv.create(COMPILER_ENV, with_pip=True, clear=True)
        pip = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *COMPILER,
        ]
        subprocess.run(pip, check=True)
        stamp.write_text("\n".join(COMPILER))
    return python


def generate(destination: Path) -> None:
    """Runs protoc over every .proto below this folder, writing below `destination`."""
    python = compiler_python()
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "scumble").rglob("*.proto"))
    services = [name for name in sources if name.endswith("_service.proto")]
    # protoc finds the mypy plug-ins on PATH, beside the interpreter.
    environment = os.environ | {
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
    }

    def protoc(kinds: Sequence[str], names: Sequence[str]) -> None:
        outputs = [
            f"--{kind}_out=quiet:{destination}"
            if kind.startswith("mypy")
            else f"--{kind}_out={destination}"
            for kind in kinds
        ]
        command = [str(python), "-m", "grpc_tools.protoc", f"-I{ROOT}", *outputs, *names]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)

    protoc(("python", "mypy"), sources)
    protoc(("grpc_python", "mypy_grpc"), services)


def stale_files(fresh: Path) -> list[str]:
    """Names of generated files that differ between `fresh` and the committed tree, or stand in only one of them."""

    def generated(folder: Path) -> set[Path]:
        return {
            p.relative_to(folder)
            for pattern in GENERATED
            for p in (folder / "scumble").rglob(pattern)
        }

    names = generated(fresh) | generated(ROOT)
    return sorted(
        str(name)
        for name in names
        if not (
            (fresh / name).is_file()
            and (ROOT / name).is_file()
            and filecmp.cmp(fresh / name, ROOT / name, shallow=False)
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="compare instead of writing; exit status 1 if stale"
    )
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = stale_files(Path(folder))
    for name in stale:
        print(f"protos/{name} is stale: run python protos/build.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
