"""The van: puts devices, record and consultation together for the village doctor."""
