"""What calibration data show of a model: the evidence for what may be made smaller."""
