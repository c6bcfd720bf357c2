"""Simulated anatomy, EPVS, raters and cohorts with known truth."""
