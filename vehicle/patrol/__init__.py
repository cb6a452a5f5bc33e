"""Position, villages and visits."""
