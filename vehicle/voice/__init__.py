"""Spoken prompts: recorded or synthesised clips, played by the kiosk browser, offline."""
