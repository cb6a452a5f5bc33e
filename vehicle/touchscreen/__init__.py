"""The village doctor's pages and the local API."""
