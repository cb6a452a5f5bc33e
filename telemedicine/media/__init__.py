"""Video and audio of a consultation: sources, encoder, tracks."""
