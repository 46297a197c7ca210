"""How many connections there are. gRPC closes what is over its limit without a word; so there are a few more places
than `max_connections`, and whoever gets one of those is told why nothing is done for them."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from urllib.parse import unquote

import psutil

from core_server.errors import LimitExceeded

RESERVE = 32
"""Places for those who are told. When they are taken as well, gRPC closes what comes."""

_LOOK_SECONDS = 0.5


class Connections:
    """Counts the connections to one port of this process.

    A connection that had a call while there was room goes on; another one waits until there is room. Within half a
    second a few more may get in, never more than the reserve.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._port = 0
        self._known: set[str] = set()
        self._count = 0
        self._looked = float("-inf")
        self._looking = asyncio.Lock()

    @property
    def hard_limit(self) -> int:
        """For gRPC."""
        return self._most + RESERVE

    def listens_at(self, address: str) -> None:
        """address: "host:port" of the server."""
        self._port = int(address.rpartition(":")[2])

    async def check(self, peer: str) -> None:
        """peer: of a call, as gRPC names it. Errors: LimitExceeded where there are too many connections."""
        name = _name_of(peer)
        if name in self._known:
            return
        async with self._looking:
            await self._look()
        if self._count > self._most:
            raise LimitExceeded(
                f"{self._most} connections to this server are open already (max_connections); close some programs that "
                "use it, or allow more in the server's configuration.",
                limit="max_connections",
                value=str(self._most),
            )
        self._known.add(name)

    async def _look(self) -> None:
        """A few milliseconds where there are few, a tenth of a second where there are a thousand: so not for each."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        known = set(self._known)
        there = await asyncio.to_thread(self._there)
        self._known -= known - there
        self._count = len(there)
        self._looked = time.monotonic()

    def _there(self) -> set[str]:
        return {
            _name(it.raddr.ip, it.raddr.port)
            for it in psutil.Process().net_connections("tcp")
            if it.status == psutil.CONN_ESTABLISHED and it.raddr and it.laddr.port == self._port
        }


def _name_of(peer: str) -> str:
    """ "ipv4:127.0.0.1:5000" and "ipv6:%5B::1%5D:5000", as gRPC writes them."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return _name(host.strip("[]"), port)


def _name(ip: str, port: int | str) -> str:
    """One spelling for an address: an IPv4 one that came through a socket for both kinds is an IPv4 one."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:  # nothing of TCP's
        return f"{ip} {port}"
    mapped = address.ipv4_mapped if address.version == 6 else None
    return f"{mapped or address} {port}"
