"""How the pictures get through: feedback, rate, pacing and budget of the van's uplink (pure), and their binding."""
