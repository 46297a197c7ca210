"""The server's own certificate: made once, for a server that other computers call, and pinned by them at pairing.

It is self-signed. Nobody has to trust an authority: whoever pairs compares the certificate with the fingerprint in the
pairing code, and from then on accepts this certificate and no other. Its name is always `NAME`, which clients expect
whatever address they call.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
from pathlib import Path

from core_server.errors import StartupError
from core_server.rpc.token import write_private

NAME = "scumble"
CERTIFICATE_FILE, KEY_FILE = "tls/certificate.pem", "tls/key.pem"
_YEARS = 10
_DAY = datetime.timedelta(days=1)


def read_or_create(data_dir: Path) -> tuple[Path, Path]:
    """Certificate and key, PEM, made if there are none: ECDSA P-256, as RFC 8446 wants every TLS 1.3 peer to know.

    Errors: StartupError when they cannot be written.
    """
    certificate, key = data_dir / CERTIFICATE_FILE, data_dir / KEY_FILE
    if not (certificate.is_file() and key.is_file()):
        try:
            certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(certificate, key)
        except OSError as error:
            raise StartupError(
                f"The server's certificate cannot be written to {certificate.parent} ({error.strerror})."
            ) from error
    if os.name != "nt":
        key.chmod(0o600)
    return certificate, key


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the certificate itself, lower-case hex. Errors: StartupError for what is no certificate."""
    from cryptography import x509  # noqa: PLC0415 - only servers with TLS need it
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise StartupError(f"The TLS certificate is no PEM certificate ({error}).") from error
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _create(certificate: Path, key: Path) -> None:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)  # clocks differ
        .not_valid_after(now + 365 * _YEARS * _DAY)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName(NAME),
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.IPAddress(ipaddress.ip_address("::1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(secret, hashes.SHA256())
    )
    key_pem = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(key, key_pem.decode())
    write_private(certificate, signed.public_bytes(serialization.Encoding.PEM).decode())
