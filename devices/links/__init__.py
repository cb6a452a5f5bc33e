"""What carries bytes to and from a device: serial, Bluetooth, TCP."""
