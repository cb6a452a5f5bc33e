"""One file per device family: bytes in, events out, no input or output of its own."""
