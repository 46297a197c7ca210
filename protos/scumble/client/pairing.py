"""Pairing with a server on another computer: one code brings address, token and the server's certificate.

The certificate itself comes from the server, is compared with the fingerprint in the code and kept: from then on only
that certificate is accepted. What is kept stands in `paired.json` in the data folder, for its owner alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from scumble.client.errors import InvalidRequest, NotRunning, Unauthenticated

PAIRED_FILE = "paired.json"
CERTIFICATE_NAME = "scumble"
"""What the server's own certificate is made out to, whatever its address."""
_PREFIX = "scumble1-"
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Pairing:
    """A server elsewhere. fingerprint: SHA-256 of its own certificate, hex; "" for a certificate that an authority of
    the studio or the web has signed."""

    address: str
    token: str
    fingerprint: str

    def code(self) -> str:
        """What is sent to the other computer. It holds the token: whoever sees it can use the server."""
        fields = json.dumps([self.address, self.token, self.fingerprint])
        return _PREFIX + base64.urlsafe_b64encode(fields.encode()).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"Pairing({self.address!r})"


def pairing_from(code: str) -> Pairing:
    """What a code says. Raises InvalidRequest for anything else."""
    text = "".join(code.split())
    try:
        if not text.startswith(_PREFIX):
            raise ValueError
        padded = text.removeprefix(_PREFIX) + "=" * (-len(text.removeprefix(_PREFIX)) % 4)
        address, token, fingerprint = json.loads(base64.urlsafe_b64decode(padded))
        if not (
            isinstance(address, str) and isinstance(token, str) and isinstance(fingerprint, str)
        ):
            raise ValueError
        host, _, port = address.rpartition(":")
        if not host or not token or not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        raise InvalidRequest.about(
            "code",
            "That is no pairing code of Scumble, or it was cut short. On the server's computer, "
            "`scumble token add NAME --pair HOST:PORT` prints one.",
        ) from None
    return Pairing(address, token, fingerprint)


def pair(code: str, data_dir: Path) -> Pairing:
    """Fetches and checks the server's certificate and keeps all that is needed to call it.

    Raises InvalidRequest for a broken code, NotRunning where no server with TLS answers, Unauthenticated where the
    certificate is another one: then somebody stands between, or the server has a new one.
    """
    pairing = pairing_from(code)
    certificate = ""
    if pairing.fingerprint:
        der = _certificate_of(pairing.address)
        if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), pairing.fingerprint):
            raise Unauthenticated(
                f"The server at {pairing.address} shows another certificate than the pairing code says. Either it has "
                "a new one, then make a new code; or somebody stands between you and it, then do not go on."
            )
        certificate = ssl.DER_cert_to_PEM_cert(der)
    entries = {key: value for key, value in _read(data_dir).items() if key != pairing.address}
    entries[pairing.address] = {"token": pairing.token, "certificate": certificate}
    _write(data_dir, entries)
    return pairing


def forget(address: str, data_dir: Path) -> bool:
    """Forgets a server; False if it was not known."""
    entries = _read(data_dir)
    if entries.pop(address, None) is None:
        return False
    _write(data_dir, entries)
    return True


def paired(data_dir: Path) -> dict[str, tuple[str, bytes]]:
    """Token and certificate (PEM, b"" for one that an authority has signed) by address; the one paired last is last."""
    return {
        address: (entry["token"], entry["certificate"].encode("ascii"))
        for address, entry in _read(data_dir).items()
    }


def _certificate_of(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # compared with the fingerprint by the caller
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=CERTIFICATE_NAME) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
    except OSError as error:  # ssl.SSLError is one too
        raise NotRunning(
            f"No Scumble server with TLS answers at {address} ({error}). Start it there with "
            "`scumble serve --host 0.0.0.0 --tls`, and look whether a firewall is between."
        ) from error
    assert der is not None
    return der


def _read(data_dir: Path) -> dict[str, dict[str, str]]:
    try:
        entries = json.loads((data_dir / PAIRED_FILE).read_text(encoding="utf-8"))
        return {
            str(address): {"token": str(it["token"]), "certificate": str(it["certificate"])}
            for address, it in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(data_dir: Path, entries: dict[str, dict[str, str]]) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = data_dir / f".{PAIRED_FILE}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(entries, indent=1) + "\n")
    draft.replace(data_dir / PAIRED_FILE)
