"""From where addresses can be reached, also those that hold another address inside."""

from __future__ import annotations

import pytest

from prefect_hailuo.storage.addresses import Reach, reach_of

REACHES = {
    "8.8.8.8": Reach.PUBLIC,
    "2606:4700::1111": Reach.PUBLIC,
    "::ffff:8.8.8.8": Reach.PUBLIC,
    "64:ff9b::8.8.8.8": Reach.PUBLIC,  # what an IPv6 network makes of every IPv4 host
    "64:ff9b:1::8.8.8.8": Reach.PUBLIC,
    "2002:808:808::1": Reach.PUBLIC,
    "127.0.0.1": Reach.LOOPBACK,
    "0.0.0.0": Reach.LOOPBACK,  # noqa: S104 - nothing is bound to it
    "::": Reach.LOOPBACK,
    "::1": Reach.LOOPBACK,
    "::127.0.0.1": Reach.LOOPBACK,
    "::ffff:0:127.0.0.1": Reach.LOOPBACK,
    "64:ff9b::127.0.0.1": Reach.LOOPBACK,
    "2002:7f00:1::": Reach.LOOPBACK,
    "10.0.0.1": Reach.PRIVATE,
    "100.64.0.1": Reach.PRIVATE,
    "fd12::1": Reach.PRIVATE,
    "fec0::1": Reach.PRIVATE,
    "ff02::1": Reach.PRIVATE,
    "239.1.1.1": Reach.PRIVATE,
    "::ffff:192.168.1.1": Reach.PRIVATE,
    "64:ff9b:1::172.16.0.1": Reach.PRIVATE,
    "2001:0:a00:1::f7f7:f7f7": Reach.PRIVATE,
    "2001:0:808:808::f5ff:fffe": Reach.PRIVATE,
    "2a00::5efe:10.0.0.1": Reach.PRIVATE,
    "169.254.169.254": Reach.NEVER,
    "fe80::1%eth0": Reach.NEVER,
    "fd00:ec2::254": Reach.NEVER,
    "fd00:ec2::23": Reach.NEVER,
    "fd20:ce::254": Reach.NEVER,
    "fd00:c1::a9fe:a9fe": Reach.NEVER,
    "168.63.129.16": Reach.NEVER,
    "100.100.100.200": Reach.NEVER,
    "::ffff:169.254.169.254": Reach.NEVER,
    "64:ff9b::169.254.169.254": Reach.NEVER,
    "2002:a9fe:a9fe::": Reach.NEVER,
    "2001:0:808:808::5601:5601": Reach.NEVER,
}


@pytest.mark.parametrize(("address", "reach"), REACHES.items(), ids=list(REACHES))
def test_an_address_is_judged_by_what_is_inside(address: str, reach: Reach) -> None:
    """By its kind, and in IPv6 by the IPv4 address to which its packets go in the end."""
    assert reach_of([address]) is reach
    assert reach_of(["8.8.8.8", address]) is reach
