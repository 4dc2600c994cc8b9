"""The ledger for people: lists, export, rebuilding and pruning; loaded when it is asked for."""
