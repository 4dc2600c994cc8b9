"""Between a Prefect run and the engine: settings, blocks, arguments, cards, events, limits."""
