"""A live consultation: van side, exchange, specialist page."""
