"""Many generations in flight at once: who flies, how far, and how it is measured."""
