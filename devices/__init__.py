"""Bytes to readings: drivers, links, sessions and simulators. Nothing above this package is visible from here."""
