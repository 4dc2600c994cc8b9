"""Values: what can be asked for, and what comes of it. Nothing here reads or sends anything."""
