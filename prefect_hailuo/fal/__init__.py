"""fal's protocol: its messages and addresses, the clients, and the one POST that buys."""
