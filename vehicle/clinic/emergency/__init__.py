"""Emergency mode: its checklists as data."""
