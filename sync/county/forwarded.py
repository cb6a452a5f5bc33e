"""Whose request it is, when a reverse proxy hands it on. Pure.

A proxy appends the address that it was called from to ``X-Forwarded-For``. Whoever calls may have written into that
field before, so it is read from its end, and no further than proxies go that the settings name (``[serve]
trusted_proxies``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
FORWARDED_FOR = "X-Forwarded-For"
MOST_HOPS = 20


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Sequence[Network]) -> str:
    """The nearest address that is none of the trusted proxies; at most 64 characters.

    :param peer: who opened the connection
    :param forwarded_for: values of the fields ``X-Forwarded-For`` in the order in which they came
    :returns: the last proxy's address when what stands behind it is no address
    """
    said = [part for value in forwarded_for for part in value.split(",")]
    found = peer
    for part in [*reversed(said[-MOST_HOPS:])]:
        address = _address(found)
        if address is None or not any(address in network for network in trusted):
            break
        further = _address(part)
        if further is None:
            break
        found = str(further)
    return found[:64]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Of "192.0.2.7", "192.0.2.7:4711", "2001:db8::7" or "[2001:db8::7]:4711"; an IPv4 address in IPv6 is itself."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
