"""Ready flows, and what they are made of."""
