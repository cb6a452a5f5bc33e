"""From the van to the county: over the network or on a USB stick, until there is a receipt."""
