"""The wire between this package and fal, and nothing else."""
