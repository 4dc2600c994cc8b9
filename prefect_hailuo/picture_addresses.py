"""Where a picture's URL may lead: not to a cloud's metadata, and by no redirect into one's network.

A URL may be somebody else's, such as a form's. Names are looked up before they are asked: one that
changes right then still leads astray, but nothing that is no picture is kept or shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from ipaddress import IPv6Address, ip_address, ip_network
from socket import inet_aton, inet_ntoa

import anyio
import httpx

NEVER = tuple(
    map(ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"))
)
"""Link-local addresses, where clouds tell a machine's secrets to whoever asks from it; and those
that Amazon and Alibaba use besides (docs.aws.amazon.com/AWSEC2/latest/UserGuide/
instancedata-data-retrieval.html, alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata),
as seen 2026-11-20."""


class Reach(Enum):
    """From where an address can be had."""

    PUBLIC = "anywhere"
    PRIVATE = "this machine or its network"
    NEVER = "nowhere that holds pictures"


def reach_of(addresses: Iterable[str]) -> Reach:
    """The narrowest reach of some addresses.

    Example:
        >>> reach_of(["93.184.216.34"]), reach_of(["93.184.216.34", "10.0.0.1"])
        (<Reach.PUBLIC: 'anywhere'>, <Reach.PRIVATE: 'this machine or its network'>)
        >>> reach_of(["::ffff:169.254.169.254"])
        <Reach.NEVER: 'nowhere that holds pictures'>
    """
    found = [ip_address(each.partition("%")[0]) for each in addresses]
    plain = [(isinstance(each, IPv6Address) and each.ipv4_mapped) or each for each in found]
    if any(each in net for each in plain for net in NEVER if each.version == net.version):
        return Reach.NEVER
    return Reach.PUBLIC if all(each.is_global for each in plain) else Reach.PRIVATE


async def find_reach(url: httpx.URL) -> Reach:
    """The reach of a URL's host; of one that only a proxy may know, as if it were public."""
    host = url.raw_host.decode()
    if literal := _literal(host):
        return reach_of([literal])
    try:
        found = await anyio.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return Reach.PUBLIC
    return reach_of(str(address[0]) for *_, address in found)


def _literal(host: str) -> str | None:
    """The address that a host is, also one in an odd form, such as `0x7f.1`."""
    if ":" in host:
        return host
    with suppress(OSError):
        return inet_ntoa(inet_aton(host))
    return None
