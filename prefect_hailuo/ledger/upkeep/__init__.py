"""The ledger for people: lists, export, rebuilding and pruning."""
