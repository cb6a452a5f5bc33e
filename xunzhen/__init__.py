"""The front door: the console script and the demo."""
