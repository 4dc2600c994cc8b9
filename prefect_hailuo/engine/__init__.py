"""From an order to a stored video, without Prefect."""
