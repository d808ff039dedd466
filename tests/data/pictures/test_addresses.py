"""No link leads into a private network."""

import asyncio
import ipaddress
import socket

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.data.pictures.addresses import GuardedBackend, PrivateAddressError, guarded_transport, is_public

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "::",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a00:1::1",
]
PUBLIC = ["8.8.8.8", "151.101.0.159", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_of_the_public_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_wrapping_does_not_make_an_address_public(address):
    wrapped = [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        str(ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80)),
    ]
    if not is_public(str(address)):
        assert not any(is_public(other) for other in wrapped)
    else:
        assert is_public(wrapped[0])
    assert not (address.is_private and is_public(str(address)))


class Network(httpcore.AsyncNetworkBackend):
    """Connects to nothing; remembers where it was asked to. Addresses in `dead` refuse."""

    def __init__(self, dead=()):
        self.connected, self.verified, self.dead = [], [], dead

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append((host, port, timeout))
        if host in self.dead:
            raise httpcore.ConnectError("refused")
        return Stream(self)


class Stream(httpcore.AsyncMockStream):
    """Answers 200 with an empty body."""

    def __init__(self, network):
        super().__init__([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
        self.network = network

    async def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self.network.verified.append((server_hostname, ssl_context.check_hostname))
        return self


@pytest.fixture
def names(monkeypatch):
    """What each name resolves to; each lookup takes the next of several answers."""
    known = {}

    def getaddrinfo(host, port, *_, **__):
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = known[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def connect(network, host):
    return asyncio.run(GuardedBackend(network).connect_tcp(host, 80, timeout=4.0))


def test_the_address_that_was_checked_is_connected_to(names):
    # The second answer is the trap of a name that changes between the check and the connection.
    names["pictures.test"] = [["8.8.8.8"], ["127.0.0.1"]]
    network = Network()
    connect(network, "pictures.test")
    assert network.connected == [("8.8.8.8", 80, 4.0)]


def test_one_private_address_among_public_ones_refuses_the_host(names):
    names["pictures.test"] = [["8.8.8.8", "10.0.0.1"]]
    network = Network()
    with pytest.raises(PrivateAddressError, match=r"^10\.0\.0\.1$"):
        connect(network, "pictures.test")
    assert network.connected == []


# What the system takes for an address of this machine, in other spellings.
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "2130706433", "0x7f.1", "0"])
def test_spellings_of_this_machine_are_refused(host):
    network = Network()
    with pytest.raises(PrivateAddressError):
        connect(network, host)
    assert network.connected == []


def test_a_dead_address_is_followed_by_the_next(names):
    names["pictures.test"] = [["8.8.8.8", "8.8.4.4", "8.8.8.8"]]
    network = Network(dead=["8.8.8.8"])
    connect(network, "pictures.test")
    assert network.connected == [("8.8.8.8", 80, 2.0), ("8.8.4.4", 80, 2.0)]
    with pytest.raises(httpcore.ConnectError):
        connect(Network(dead=["8.8.8.8", "8.8.4.4"]), "pictures.test")


@pytest.mark.parametrize("host", ["unknown.test", "a" * 64 + ".test"])
def test_an_unknown_host_is_named(names, host):
    with pytest.raises(httpcore.ConnectError, match=f"unknown host {host}"):
        connect(Network(), host)


def test_sockets_of_this_machine_are_refused():
    with pytest.raises(PrivateAddressError):
        asyncio.run(GuardedBackend(Network()).connect_unix_socket("/run/secret.sock"))


def get(transport, *urls):
    async def ask():
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return [await client.get(url, follow_redirects=True) for url in urls]

    return asyncio.run(ask())


def test_the_certificate_is_that_of_the_name(names):
    names["pictures.test"] = [["8.8.8.8"]]
    transport, network = guarded_transport(httpx.Limits()), Network()
    transport._pool._network_backend._inner = network
    assert [answer.status_code for answer in get(transport, "https://pictures.test/a")] == [200]
    assert network.connected[0][:2] == ("8.8.8.8", 443)
    assert network.verified == [("pictures.test", True)]


def test_nothing_is_asked_of_this_machine_unless_permitted(site):
    site.routes["/a"] = (200, {}, b"content")
    site.routes["/away"] = (302, {"Location": "/a"}, b"")
    with pytest.raises(PrivateAddressError, match=r"^127\.0\.0\.1$"):
        get(guarded_transport(httpx.Limits()), site.url("/away"))
    assert not site.asked
    permitted = guarded_transport(httpx.Limits(), allow_private=True)
    assert get(permitted, site.url("/away"))[0].content == b"content"


def test_a_redirect_to_a_private_address_is_refused(names, site):
    names["pictures.test"] = [["8.8.8.8"]]

    class Redirecting(Network):
        async def connect_tcp(self, *args, **options):
            stream = await super().connect_tcp(*args, **options)
            stream._buffer = [f"HTTP/1.1 302 Found\r\nLocation: {inside}\r\nContent-Length: 0\r\n\r\n".encode()]
            return stream

    inside = "http://inside.test/secret"
    names["inside.test"] = [["192.168.0.7"]]
    transport, network = guarded_transport(httpx.Limits()), Redirecting()
    transport._pool._network_backend._inner = network
    with pytest.raises(PrivateAddressError, match=r"^192\.168\.0\.7$"):
        get(transport, "http://pictures.test/a")
    assert [address for address, *_ in network.connected] == ["8.8.8.8"]
