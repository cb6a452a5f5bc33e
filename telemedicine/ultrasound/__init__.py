"""The ultrasound bridge: a machine's picture cut, turned and calibrated; stills, clips and measurements of it."""
