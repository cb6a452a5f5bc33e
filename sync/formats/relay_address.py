"""How a TURN server is named in settings and messages. Pure."""

from __future__ import annotations

TURN_URL = r"^(turn:[^\s?:/@]+(:\d{1,5})?(\?transport=(udp|tcp))?|turns:[^\s?:/@]+(:\d{1,5})?(\?transport=tcp)?)$"
"""RFC 7065, of what vans and browsers both speak: UDP, TCP, TLS; a name or an IPv4 address."""
