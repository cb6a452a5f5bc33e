"""The uplink: is there a network, how good is it."""
