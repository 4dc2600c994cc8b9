"""Paid video generation as a first-class step of a Prefect workflow."""
