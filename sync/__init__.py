"""The record: journal, recordings, delivery, and the county that receives and verifies them."""
