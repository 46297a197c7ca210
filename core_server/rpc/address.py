"""Where the server listens: only on this computer unless there is TLS, and never where somebody else does."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import sys

import grpc
import grpc.aio

from core_server.config import ServerConfig
from core_server.errors import AddressInUse, InsecureAddress, StartupError
from core_server.rpc import certificate

_IN_USE = {errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, getattr(errno, "WSAEACCES", errno.EACCES)}


def listen(server: grpc.aio.Server, config: ServerConfig) -> str:
    """Binds `server` and returns the "host:port" that clients on this computer use.

    A host name is resolved once; what it means here decides, and is bound. Errors: InsecureAddress for an address
    that other machines reach without TLS; AddressInUse; StartupError for bad names, ports and certificates.
    """
    if not 0 <= config.port <= 65535:
        raise StartupError(f"There is no port {config.port}; choose 0 (any free one) to 65535.")
    credentials = _credentials(config)
    ip = _resolved(config.host)
    if credentials is None and not ip.is_loopback:
        raise InsecureAddress(
            f"{config.host} can be reached from other computers, and without TLS anybody between could read pictures "
            "and token. Give --tls for a certificate of the server's own, --tls-cert and --tls-key for yours, or use "
            "--host 127.0.0.1."
        )
    _probe(ip, config)
    target = _joined(str(ip), config.port)
    try:
        port = (
            server.add_insecure_port(target)
            if credentials is None
            else server.add_secure_port(target, credentials)
        )
    except RuntimeError as error:  # somebody came between the probe and here
        raise _in_use(config) from error
    if ip.is_unspecified:
        return _joined("127.0.0.1" if ip.version == 4 else "::1", port)
    # A certificate is made out to a name: where there is one, clients must call the server by it.
    named = credentials is not None and config.tls_cert is not None
    return _joined(config.host if named else str(ip), port)


def _resolved(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError) as error:
        raise StartupError(
            f"The host {host!r} has no address on this computer; use 127.0.0.1."
        ) from error
    if not found:
        raise StartupError("The host is empty; use 127.0.0.1, or 0.0.0.0 with TLS.")
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    # A name that means several addresses is judged by the most open of them; IPv4 is bound if there is one.
    return min(addresses, key=lambda it: (it.is_loopback, it.version))


def _probe(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, config: ServerConfig) -> None:
    """Tries the address with a plain socket, because that one says why it fails."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform == "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(ip), config.port))
        except OSError as error:
            # Windows calls an address that another program holds exclusively forbidden.
            if error.errno in _IN_USE or (sys.platform == "win32" and error.errno in _FORBIDDEN):
                raise _in_use(config) from error
            if error.errno in _FORBIDDEN:
                raise StartupError(
                    f"This user may not listen on port {config.port}; choose one above 1023, such as --port 47110."
                ) from error
            raise StartupError(
                f"This computer cannot listen on {_joined(config.host, config.port)} ({error.strerror}); "
                "use --host 127.0.0.1."
            ) from error


def _in_use(config: ServerConfig) -> AddressInUse:
    return AddressInUse(
        f"Port {config.port} on {config.host} is taken, perhaps by another Scumble. Use that one, stop it, or start "
        "this one elsewhere: --port 0 takes any free port.",
        port=str(config.port),
    )


def _credentials(config: ServerConfig) -> grpc.ServerCredentials | None:
    if not config.speaks_tls:
        if config.tls_client_ca is not None:
            raise StartupError(
                "Certificates of clients (--tls-client-ca) need TLS; give --tls, or --tls-cert and --tls-key."
            )
        return None
    cert, key = config.tls_cert, config.tls_key
    if cert is None and key is None:
        cert, key = certificate.read_or_create(config.data_dir)
    if cert is None or key is None:
        raise StartupError("TLS needs both a certificate (--tls-cert) and its key (--tls-key).")
    try:
        # gRPC would take anything here and refuse every client later; ssl says what is wrong now.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        pair = (key.read_bytes(), cert.read_bytes())
    except OSError as error:  # ssl.SSLError is one too
        raise StartupError(
            f"The TLS certificate {cert} with the key {key} cannot be used ({error}). Both must "
            "be PEM files, without a password, that belong together."
        ) from error
    if config.tls_client_ca is None:
        return grpc.ssl_server_credentials([pair])
    try:
        context.load_verify_locations(config.tls_client_ca)
        authorities = config.tls_client_ca.read_bytes()
    except OSError as error:
        raise StartupError(
            f"The authorities for clients in {config.tls_client_ca} cannot be used ({error}); it must be a PEM file."
        ) from error
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=True)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
