"""Measurements: ``make bench``. Ratios against a named peer in the same run; the machine is noisy."""
