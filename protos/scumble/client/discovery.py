"""Where the server is and which token it wants: arguments, then the environment, then the data folder, then the server
elsewhere that this computer was paired with last."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scumble.client.errors import NotRunning
from scumble.client.pairing import PAIRED_FILE, paired

SERVER_VARIABLE = "SCUMBLE_SERVER"
TOKEN_VARIABLE = "SCUMBLE_TOKEN"  # noqa: S105 - a name
DATA_DIR_VARIABLE = "SCUMBLE_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Location:
    """An address, "host:port", and the token for it, with where the token came from, for messages.

    tls: the server's own file, or a pairing, says that it wants TLS. certificate: the only one to accept, PEM; b"" for
    what the caller or the system trusts.
    """

    address: str
    token: str
    token_source: str
    tls: bool = False
    certificate: bytes = b""

    def __repr__(self) -> str:
        return f"Location({self.address!r}, token from {self.token_source})"


def default_data_dir(
    environment: Mapping[str, str] | None = None, platform: str | None = None
) -> Path:
    """SCUMBLE_DATA_DIR, else the platform's own place for application data.

    The same rule as `platformdirs.user_data_dir("scumble", appauthor=False)`, which the server uses; written out
    because a host's Python need not have that package.
    """
    environment = os.environ if environment is None else environment
    platform = sys.platform if platform is None else platform
    if chosen := environment.get(DATA_DIR_VARIABLE):
        return Path(chosen).expanduser()
    home = Path("~").expanduser()
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "scumble"
    if xdg := environment.get("XDG_DATA_HOME", "").strip():
        return Path(xdg) / "scumble"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "scumble"
    return home / ".local" / "share" / "scumble"


def locate(
    address: str | None,
    token: str | None,
    data_dir: Path | None,
    environment: Mapping[str, str] | None = None,
) -> Location:
    """Finds the server. Raises NotRunning where nothing says that one runs."""
    environment = os.environ if environment is None else environment
    folder = default_data_dir(environment) if data_dir is None else data_dir
    # A folder named by the caller outranks the environment's idea of another server.
    named = environment if data_dir is None else {}
    tls, certificate = False, b""
    address = address or named.get(SERVER_VARIABLE)
    elsewhere = paired(folder)
    if not address:
        try:
            address, tls, certificate = _announced_in(folder)
        except NotRunning:
            if not elsewhere:
                raise
            address = list(elsewhere)[-1]
    partner = elsewhere.get(address)
    if partner is not None:
        tls, certificate = True, partner[1]
    if token is not None:
        return Location(address, token, "the caller", tls, certificate)
    if named.get(TOKEN_VARIABLE):
        return Location(address, named[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE, tls, certificate)
    if partner is not None:
        return Location(address, partner[0], str(folder / PAIRED_FILE), tls, certificate)
    path = folder / "token"
    try:
        return Location(
            address, path.read_text(encoding="ascii").strip(), str(path), tls, certificate
        )
    except (OSError, UnicodeDecodeError):
        return Location(address, "", "", tls, certificate)


def _announced_in(folder: Path) -> tuple[str, bool, bytes]:
    """The address that a running server wrote into its data folder, whether it wants TLS, and its own certificate."""
    path = folder / "server.json"
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        own = entry.get("certificate", "")
        certificate = (folder / own).read_bytes() if own else b""
        return str(entry["address"]), bool(entry.get("tls", False)), certificate
    except FileNotFoundError:
        raise NotRunning(
            f"No Scumble server is running (there is no {path}). Start one with `scumble serve`, or set "
            f"{SERVER_VARIABLE}."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotRunning(
            f"{path} does not say where the server is ({error}). Stop the server and start it again with "
            "`scumble serve`."
        ) from error
