"""Opens connections with `scumble.client`, imported here and no earlier: it brings grpc, which loads slowly."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .addresses import configured_address, is_loopback
from .errors import ClientMissing
from .request import Server

if TYPE_CHECKING:
    from scumble.client import Client


def connect(server: Server) -> Client:
    """Connects as `scumble.client.connect` does. Raises its errors, and ClientMissing where a wheel is not there."""
    try:
        import scumble.client as library
    except ImportError as error:
        raise ClientMissing(
            f"A part of the Scumble extension is missing or was replaced by another add-on ({error}): remove Scumble "
            "in Preferences > Get Extensions, install it again and restart Blender."
        ) from error
    # The server speaks plain text on loopback only; elsewhere it has TLS, and b"" trusts what the system trusts.
    local = is_loopback(configured_address(server.address, os.environ))
    certificates = None if local else b""
    if server.root_certificates is not None:
        try:
            certificates = server.root_certificates.read_bytes()
        except OSError as error:
            raise library.InvalidRequest(
                f"The certificate file in Scumble's preferences cannot be read ({error}): choose a PEM file, or clear "
                "the field."
            ) from error
    return library.connect(
        server.address or None,
        token=server.token or None,
        data_dir=server.data_dir,
        root_certificates=certificates,
    )
