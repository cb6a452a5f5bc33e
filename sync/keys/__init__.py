"""The keys of a van and what they state."""
