"""The bench tool ``python -m devices``: what a technician needs to try a device without the rest of the van."""
