"""People, encounters, measurements, screening."""
