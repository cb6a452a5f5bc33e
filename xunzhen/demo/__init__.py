"""The whole in one command: county, van, consultation and simulated devices."""
