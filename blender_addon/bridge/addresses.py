"""Which addresses need the internet, and Blender's rule about them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping


def configured_address(preference: str, environment: Mapping[str, str]) -> str:
    """The address that will be used, in the client's own order: the preference, then SCUMBLE_SERVER, then ""
    for the server that runs on this computer."""
    return preference.strip() or environment.get("SCUMBLE_SERVER", "").strip()


def is_loopback(address: str) -> bool:
    """True for addresses that never leave this computer: "", localhost, 127.0.0.0/8, ::1, unix sockets."""
    if not address or address.startswith("unix:"):
        return True
    host = _host(address)
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(address: str, *, online_access: bool) -> str:
    """Why the address may not be used now, or "". Blender's "Allow Online Access" covers what leaves this computer."""
    if online_access or is_loopback(address):
        return ""
    return (
        f"The server {address} is not on this computer and Blender's online access is off: switch on "
        "Preferences > System > Network > Allow Online Access, or clear the address to use a local server."
    )


def _host(address: str) -> str:
    """host of host:port, [v6]:port or a bare v6 address."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]
