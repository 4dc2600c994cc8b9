"""From where a web address can be reached, and which of them a link of fal's may lead to.

Links and pictures' URLs come from others. None may lead to a cloud's metadata service, and fal's
links lead to public hosts or to the configured ones. Names are resolved before the request; one
that changes right then still leads elsewhere, but nothing that is no video or picture is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import inet_aton, inet_ntoa

import anyio
import httpx

from prefect_hailuo.fal.hosts import FAL_HOSTS, Hosts, is_confidential
from prefect_hailuo.ticket import Realm

METADATA = (
    *("169.254.0.0/16", "fe80::/10"),  # link-local: most clouds, and those of containers
    *("fd00:ec2::254/128", "fd00:ec2::23/128"),  # Amazon: EC2, and EKS's pod identities
    "fd20:ce::254/128",  # Google
    "168.63.129.16/32",  # Azure's wire server
    *("fd00:c1::a9fe:a9fe/128", "192.0.0.192/32"),  # Oracle
    "100.100.100.200/32",  # Alibaba
    "fd00:42::42/128",  # Scaleway
    "fd00:a9fe:a9fe::1/128",  # Akamai (Linode)
)
"""Where clouds tell a machine's secrets to every program on it, by each cloud's documentation of
its instance metadata, as seen 2026-11-20."""

NEVER = tuple(map(ip_network, METADATA))

ENDS_IN_IPV4 = tuple(
    map(ip_network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
)
"""IPv6 addresses that end in an IPv4 address: compatible, mapped and translated ones, and those of
NAT64 (RFC 4291, 2765, 6052, 8215)."""

SIX_TO_FOUR = ip_network("2002::/16")

TEREDO = ip_network("2001::/32")

ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))
"""What comes before the IPv4 address in an interface's name (RFC 5214)."""

FILE_HOSTS = frozenset({"v3.fal.media", "v3b.fal.media", "fal.media", "storage.googleapis.com"})
"""Where fal keeps files, by its documentation's examples. They are not resolved: inside of a cloud,
or behind a proxy, their names may lead to private addresses."""


class Reach(Enum):
    """From where an address can be reached."""

    PUBLIC = "anywhere"
    LOOPBACK = "this machine"
    PRIVATE = "a private network"
    NEVER = "nowhere that holds files"


def reach_of(addresses: Iterable[str]) -> Reach:
    """The narrowest reach of some addresses.

    Example:
        >>> reach_of(["93.184.216.34"]), reach_of(["93.184.216.34", "10.0.0.1"])
        (<Reach.PUBLIC: 'anywhere'>, <Reach.PRIVATE: 'a private network'>)
        >>> reach_of(["::ffff:169.254.169.254"]), reach_of(["64:ff9b::127.0.0.1"])
        (<Reach.NEVER: 'nowhere that holds files'>, <Reach.LOOPBACK: 'this machine'>)
    """
    narrowing = list(Reach)
    found = [_reach(part) for each in addresses for part in _parts(each.partition("%")[0])]
    return max(found, key=narrowing.index, default=Reach.PUBLIC)


def _reach(address: IPv4Address | IPv6Address) -> Reach:
    if any(address in net for net in NEVER if net.version == address.version):
        return Reach.NEVER
    if address.is_loopback or address.is_unspecified:  # Linux takes 0.0.0.0 for this machine, too
        return Reach.LOOPBACK
    local = address.is_multicast or (isinstance(address, IPv6Address) and address.is_site_local)
    return Reach.PUBLIC if address.is_global and not local else Reach.PRIVATE


def _parts(text: str) -> list[IPv4Address | IPv6Address]:
    """An address, or the ones that it holds inside, where packets for it go."""
    address = ip_address(text)
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return [address]
    octets = address.packed
    if any(address in net for net in ENDS_IN_IPV4):
        return [IPv4Address(octets[12:])]
    if address in SIX_TO_FOUR:
        return [IPv4Address(octets[2:6])]
    if address in TEREDO:  # the server, and the client, whose bits are turned around
        client = bytes(255 - octet for octet in octets[12:])
        return [IPv4Address(octets[4:8]), IPv4Address(client)]
    if octets[8:12] in ISATAP:
        return [address, IPv4Address(octets[12:])]
    return [address]


async def find_reach(url: httpx.URL) -> Reach:
    """The reach of a URL's host. One that cannot be resolved, which a proxy may know, is public."""
    return reach_of(await _addresses(url))


async def _addresses(url: httpx.URL) -> list[str]:
    """The addresses of a URL's host; none if it cannot be resolved."""
    host = url.raw_host.decode()
    if literal := _literal(host):
        return [literal]
    if f".{host.rstrip('.')}".endswith(".localhost"):  # by RFC 6761, whatever resolves it
        return ["127.0.0.1"]
    try:
        found = await anyio.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


def checked_file_host(text: str) -> str:
    """The name of a host, or a network such as `10.0.0.0/8`, that the environment names.

    Raises:
        ValueError: It is neither.

    Example:
        >>> checked_file_host(" Files.example.internal "), checked_file_host("10.1.0.0/16")
        ('files.example.internal', '10.1.0.0/16')
    """
    text = text.strip().lower()
    if "/" in text:
        return str(ip_network(text))
    if not text or text != httpx.URL(f"https://{text}").host:
        raise ValueError(f"{text!r} is no host's name alone, nor a network such as 10.0.0.0/8")
    return text


async def is_named(url: httpx.URL, file_hosts: Collection[str]) -> bool:
    """Whether the environment names a URL's host or its networks, and no secrets are there."""
    if not file_hosts:
        return False
    addresses = await _addresses(url)
    return reach_of(addresses) is not Reach.NEVER and _is_named(url, addresses, file_hosts)


def _is_named(url: httpx.URL, addresses: Iterable[str], file_hosts: Collection[str]) -> bool:
    """Whether the environment names a URL's host, or the networks of all its addresses."""
    if url.host in file_hosts:
        return True
    networks = [ip_network(each) for each in file_hosts if "/" in each]
    parts = [part for each in addresses for part in _parts(each.partition("%")[0])]
    return bool(parts) and all(
        any(part in net for net in networks if net.version == part.version) for part in parts
    )


def _literal(host: str) -> str | None:
    """A host that is an address, also in an odd form such as `0x7f.1`; None for a name."""
    if ":" in host:
        return host
    with suppress(OSError):
        return inet_ntoa(inet_aton(host.removesuffix(".")))
    return None


async def refusal_of(
    url: httpx.URL,
    realm: Realm = "fal",
    hosts: Hosts = FAL_HOSTS,
    file_hosts: Collection[str] = (),
) -> str | None:
    """Why a link to a file is refused; None if it may be followed.

    Where the realm is fal, it leads to a public host, or to a configured one, or to this machine
    if the configured hosts are here. An emulator's files may be anywhere in a network.

    Args:
        url: The link, or where it was redirected to.
        realm: Whether it is from fal or from an emulator.
        hosts: The configured hosts.
        file_hosts: Hosts and networks that the environment names: there, it may be anywhere but
            where clouds tell a machine's secrets.

    Example:
        >>> import asyncio
        >>> asyncio.run(refusal_of(httpx.URL("https://10.0.0.1/fox.mp4")))
        "leads to 10.0.0.1, a private network, where none of fal's files are"
    """
    if url.userinfo:
        return "carries a user name or a password, which no link of fal's does"
    if not is_confidential(url):
        return "is not https, so what it serves could be anything"
    if url.scheme == "https" and url.host in FILE_HOSTS:
        return None
    addresses = await _addresses(url)
    reach = reach_of(addresses)
    named = _is_named(url, addresses, file_hosts)
    configured = named or realm == "emulator" or hosts.trusts(str(url))
    if reach is Reach.PUBLIC or (reach is not Reach.NEVER and configured):
        return None
    if reach is Reach.LOOPBACK and hosts.are_local():
        return None
    return f"leads to {url.host}, {reach.value}, where none of fal's files are"
