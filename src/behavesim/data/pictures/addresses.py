"""The guard against links into private networks.

A table of tweets is written by strangers, and a link in it could name a machine that only we can reach. Names are
therefore resolved here, below the connection, where redirects pass as well; and the very address that was looked at is
the one connected to, so that a name cannot change its meaning in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

import httpcore
import httpx

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRIED = 4  # addresses of one host, which share the time given for connecting


class PrivateAddressError(Exception):
    """A host with an address that is not of the public internet; the message is that address.

    It is no `httpcore` error on purpose: those mean trouble on the way, and are tried again.
    """


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address belongs to one machine of the public internet.

    An IPv4 address that is wrapped in IPv6 (mapped, NAT64, 6to4) is judged by what is inside.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        # `::ffff:0:0/96` and `64:ff9b::/96` say nothing themselves about where the packets end.
        inner = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local or (ip.sixtofour is not None and not is_public(str(ip.sixtofour))):
            return False
    # Multicast and reserved addresses count as global in `ipaddress`.
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """A network that reaches public addresses alone; `inner` makes the connections."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._inner = inner or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an address of `host`; its name stays the one that TLS verifies, one floor up.

        Raises:
            PrivateAddressError: one of its addresses is not public.
        """
        addresses = await _resolved(host, port, timeout)
        for address in addresses:
            if not is_public(address):
                raise PrivateAddressError(address)
        addresses = addresses[:_TRIED]
        share = None if timeout is None else timeout / len(addresses)
        for number, address in enumerate(addresses, start=1):
            try:
                return await self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("a resolved host has an address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a socket of this machine is as private as can be."""
        raise PrivateAddressError(path)

    async def sleep(self, seconds: float) -> None:
        """Wait, for the connection pool."""
        await self._inner.sleep(seconds)


async def _resolved(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of a host, best first, each once."""
    try:
        async with asyncio.timeout(timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"no address of {host} within {timeout:g} s") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a label over 63 characters
        raise httpcore.ConnectError(f"unknown host {host}") from error
    if not found:
        raise httpcore.ConnectError(f"unknown host {host}")
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def guarded_transport(limits: httpx.Limits, *, allow_private: bool = False) -> httpx.AsyncHTTPTransport:
    """A transport for `httpx.AsyncClient` that reaches public addresses alone, unless `allow_private`.

    The client needs `trust_env=False`: a proxy named by the environment would resolve names where nobody looks.
    """
    transport = httpx.AsyncHTTPTransport(limits=limits)
    if not allow_private:
        # httpx has no setting for the network below its pool, httpcore has; nothing was opened by the old pool yet.
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),  # verifies, and heeds SSL_CERT_FILE
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=GuardedBackend(),
        )
    return transport
