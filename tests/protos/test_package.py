"""What the client exports, and the wheel that hosts bundle."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import scumble.client
from core_server import __version__ as server_version

ROOT = Path(__file__).parents[2]


def test_all_is_sorted_and_whole() -> None:
    exported = scumble.client.__all__
    assert exported == sorted(exported)
    public = {
        name
        for name, value in vars(scumble.client).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith("scumble.client")
    }
    assert set(exported) == public | {"Request"}  # a union has no module


def test_one_version_everywhere() -> None:
    assert scumble.__version__ == server_version == metadata.version("scumble")


def test_the_wheel_is_pure_and_needs_grpcio_and_protobuf_alone(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([*build, str(ROOT / "protos")], check=True, timeout=380)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"scumble_client-{server_version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {name.split("/")[0] for name in names} == {
        "scumble",
        f"scumble_client-{server_version}.dist-info",
    }
    # In an interpreter that cannot import anything but those two.
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'platformdirs', 'core_server', 'google.rpc')));"
        "import scumble.client as client; assert client.__file__.startswith(sys.argv[1]), client.__file__;"
        "p = client.Pixels(b'abc', 1, 1, 3, 'u8', 'srgb');"
        "print(client.paste(p, client.Patch(pixels=p, seed=0, recipe={}), use_numpy=False).tobytes())"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "site")],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout.strip() == "b'abc'"
