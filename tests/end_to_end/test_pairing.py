"""A server that other computers may call: its own certificate, pinned at pairing; certificates of clients."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

import scumble.client
from core_server.rpc import certificate
from scumble.client import NotRunning, TextToImage, Unauthenticated
from scumble.client.pairing import Pairing, forget, pair, paired, pairing_from
from tests.real_server import running_server

QUICK = TextToImage(prompt="slate", width=64, height=64, num_inference_steps=1, seed=1)


def scumble_command(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core_server", *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_pair_use_and_be_thrown_out(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with running_server(there, "--tls") as server:
        assert stat.S_IMODE((there / "tls" / "key.pem").stat().st_mode) == 0o600
        with scumble.client.connect(data_dir=there) as client:
            assert client.server_info().token_name == "main", "this computer needs no pairing"
        made = scumble_command("token", "add", "ada", "--pair", server.address, data_dir=there)
        assert made.returncode == 0, made.stderr
        outcome = scumble_command("pair", made.stdout.strip(), data_dir=here)
        assert outcome.returncode == 0, outcome.stderr
        assert "as ada" in outcome.stdout
        if os.name != "nt":
            assert stat.S_IMODE((here / "paired.json").stat().st_mode) == 0o600
        with scumble.client.connect(data_dir=here) as client:
            [patch] = client.submit(QUICK).result(timeout=300)
            assert patch.pixels.width == 64
        listed = scumble_command("token", "list", data_dir=there).stdout
        assert "ada" in listed
        assert made.stdout.strip() not in listed
        with pytest.raises(NotRunning):  # no TLS, no talk
            scumble.client.connect(server.address, token=server.token, data_dir=tmp_path / "x")

        pairing = pairing_from(made.stdout)
        false = Pairing(pairing.address, pairing.token, "0" * 64).code()
        with pytest.raises(Unauthenticated, match="another certificate"):
            pair(false, here)
    # Somebody else's server at the same address, with a certificate of its own: refused, token unseen.
    port = server.address.rpartition(":")[2]
    with (
        running_server(tmp_path / "evil", "--tls", "--port", port),
        pytest.raises(NotRunning),
    ):
        scumble.client.connect(server.address, data_dir=here)
    assert forget(server.address, here)
    assert paired(here) == {}
    with pytest.raises(NotRunning, match="No Scumble server is running"):
        scumble.client.connect(data_dir=here)


def test_certificates_of_clients(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    ca_file = tmp_path / "clients.pem"
    authority.cert_pem.write_to_path(ca_file)
    with running_server(tmp_path / "data", "--tls", "--tls-client-ca", str(ca_file)) as server:

        def connect(identity: tuple[bytes, bytes] | None) -> scumble.client.Client:
            return scumble.client.connect(
                data_dir=tmp_path / "data", client_certificate=identity, timeout=60
            )

        def issued(ca: trustme.CA) -> tuple[bytes, bytes]:
            cert = ca.issue_cert("workstation")
            return cert.cert_chain_pems[0].bytes(), cert.private_key_pem.bytes()

        with connect(issued(authority)) as client:
            assert client.server_info().address == server.address
        for refused in (None, issued(stranger)):
            with pytest.raises(NotRunning):
                connect(refused)


def test_the_certificate_is_made_once_and_can_be_checked(tmp_path: Path) -> None:
    first, _ = certificate.read_or_create(tmp_path)
    before = first.read_bytes()
    assert certificate.read_or_create(tmp_path)[0].read_bytes() == before
    shown = certificate.fingerprint(before)
    assert (
        shown == __import__("hashlib").sha256(ssl.PEM_cert_to_DER_cert(before.decode())).hexdigest()
    )


@pytest.mark.parametrize(
    "code", ["", "scumble1-", "scumble1-%%%", "hello", Pairing("nowhere", "t", "").code()]
)
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(scumble.client.InvalidRequest, match="no pairing code"):
        pairing_from(code)


def test_a_start_with_a_new_token_keeps_the_jobs(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        old = server.token
        with scumble.client.connect(server.address, token=old) as client:
            job_id = client.submit(QUICK).id
    with running_server(tmp_path, "--rotate-token") as server:
        assert server.token != old
        with pytest.raises(Unauthenticated):
            scumble.client.connect(server.address, token=old)
        with scumble.client.connect(server.address, token=server.token) as client:
            [patch] = client.job(job_id).result(timeout=300)
            assert patch.pixels.width == 64
