"""Byte-exact twins of the devices, for the demo and the tests."""
