"""Where the server listens, and where it refuses to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import trustme

from core_server.config import ServerConfig
from core_server.errors import AddressInUse, InsecureAddress, StartupError
from core_server.rpc.address import listen
from tests.core_server.rpc.gateway import running_gateway


@pytest.fixture
async def server() -> AsyncIterator[grpc.aio.Server]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    yield server
    await server.stop(0)


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Path]:
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}


def config(tmp_path: Path, host: str = "127.0.0.1", port: int = 0, **more: Path) -> ServerConfig:
    return ServerConfig(data_dir=tmp_path, host=host, port=port, **more)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1.2.3", "127.1.2.3"),
        ("localhost", "127.0.0.1"),
        pytest.param(
            "::1", "[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
        ),
    ],
)
async def test_loopback_needs_no_tls(
    server: grpc.aio.Server, tmp_path: Path, host: str, bound: str
) -> None:
    name, _, port = listen(server, config(tmp_path, host)).rpartition(":")
    assert name == bound
    assert int(port) > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
async def test_other_addresses_need_tls(server: grpc.aio.Server, tmp_path: Path, host: str) -> None:
    with pytest.raises(InsecureAddress, match="--tls-cert"):
        listen(server, config(tmp_path, host))


async def test_a_name_that_also_means_an_open_address_needs_tls(
    server: grpc.aio.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [(socket.AF_INET, 0, 0, "", (ip, 0)) for ip in ("127.0.0.1", "192.0.2.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    with pytest.raises(InsecureAddress):
        listen(server, config(tmp_path, "both.example"))


async def test_tls_opens_all_addresses(
    server: grpc.aio.Server, tmp_path: Path, certificate: dict[str, Path]
) -> None:
    address = listen(server, config(tmp_path, "0.0.0.0", **certificate))
    assert address.startswith("127.0.0.1:"), "where clients on this computer find it"


async def test_tls_is_really_spoken(
    server: grpc.aio.Server, tmp_path: Path, certificate: dict[str, Path]
) -> None:
    address = listen(server, config(tmp_path, "localhost", **certificate))
    await server.start()
    trusted = grpc.ssl_channel_credentials(certificate["tls_cert"].read_bytes())
    async with (
        grpc.aio.secure_channel(address, trusted) as secure,
        grpc.aio.insecure_channel(address) as open_channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as answered:
            await secure.unary_unary("/x/Y")(b"", timeout=60)
        assert answered.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await open_channel.unary_unary("/x/Y")(b"", timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls_key": None}, "both"),
        ({"tls_cert": None}, "both"),
        ({"tls_cert": "missing.pem"}, "cannot be used"),
        ({"tls_cert": "key.pem"}, "belong together"),
    ],
    ids=["no_key", "no_cert", "missing_file", "no_certificate_in_file"],
)
async def test_half_a_certificate_is_refused(
    server: grpc.aio.Server,
    tmp_path: Path,
    certificate: dict[str, Path],
    change: dict[str, str | None],
    words: str,
) -> None:
    files = certificate | {
        name: tmp_path / value if value else None for name, value in change.items()
    }
    with pytest.raises(StartupError, match=words):
        listen(server, config(tmp_path, **files))


async def test_a_taken_port_is_refused(server: grpc.aio.Server, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"Port {port} .*--port 0"):
            listen(server, config(tmp_path, port=port))


async def test_two_gateways_do_not_share_a_port(server: grpc.aio.Server, tmp_path: Path) -> None:
    with running_gateway(tmp_path) as first:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(AddressInUse, match="another Scumble"):
            listen(server, config(tmp_path, port=port))


@pytest.mark.parametrize("port", [-1, 65536])
async def test_no_such_port(server: grpc.aio.Server, tmp_path: Path, port: int) -> None:
    with pytest.raises(StartupError, match=f"no port {port}"):
        listen(server, config(tmp_path, port=port))


@pytest.mark.parametrize(
    ("host", "words"),
    [("no.such.host.invalid", "has no address"), ("x" * 300, "has no address"), ("", "is empty")],
    ids=["unknown", "long", "empty"],
)
async def test_no_such_host(server: grpc.aio.Server, tmp_path: Path, host: str, words: str) -> None:
    with pytest.raises(StartupError, match=words):
        listen(server, config(tmp_path, host))


async def test_an_address_of_another_computer(
    server: grpc.aio.Server, tmp_path: Path, certificate: dict[str, Path]
) -> None:
    with pytest.raises(StartupError, match="cannot listen on"):
        listen(server, config(tmp_path, "192.0.2.1", **certificate))
