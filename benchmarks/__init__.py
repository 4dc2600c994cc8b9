"""Measurements against what people do today; each is one command, and says what it measured."""
