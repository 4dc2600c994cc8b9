"""fal's queue and those who wait for it, on virtual time: what `benchmarks/pacing.py` drives."""
