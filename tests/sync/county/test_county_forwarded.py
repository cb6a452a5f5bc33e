"""Whose request it is behind reverse proxies."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.county.forwarded import client_address
from sync.county.settings import read_county_settings
from sync.settings_file import SettingsRefused

TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),  # no proxy of ours: whatever it says is its own word
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["192.0.2.7, 10.1.2.3"], "192.0.2.7"),
        ("127.0.0.1", ["192.0.2.7", "10.1.2.3"], "192.0.2.7"),
        ("127.0.0.1", ["192.0.2.7:4711"], "192.0.2.7"),
        ("::ffff:127.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("2001:db8:1::2", [" 2001:db8::7 "], "2001:db8::7"),
        ("127.0.0.1", ["192.0.2.7, unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("", ["192.0.2.7"], ""),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours(peer: str, forwarded: list[str], caller: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == caller


@given(st.lists(st.text(max_size=80), max_size=40), st.sampled_from(["127.0.0.1", "192.0.2.7", "x" * 100]))
def test_whatever_the_field_says_there_is_an_address_of_bounded_length(forwarded: list[str], peer: str) -> None:
    found = client_address(peer, forwarded, TRUSTED)
    assert len(found) <= 64
    if peer == "192.0.2.7":
        assert found == peer


def test_a_proxy_that_is_no_address_is_refused_in_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "county.toml"
    head = 'name = "县"\ndata = "data"\norigin = "county.example"\n[serve]\n'
    file.write_text(head + 'trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "::1"]\n', encoding="utf-8")
    assert len(read_county_settings(file).serve.proxies) == 3
    file.write_text(head + 'trusted_proxies = ["nginx"]\n', encoding="utf-8")
    with pytest.raises(SettingsRefused, match="write an address such as"):
        read_county_settings(file)
