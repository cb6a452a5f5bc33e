"""A hospital's own SFU: the van publishes to it (WHIP) and plays out from it (WHEP)."""
