"""A look at fal's schemas: the entry point of `prefect_hailuo.flows.schema_watch` in a clone.

python flows/schema_watch.py --emulator
"""

import sys

from prefect_hailuo.flows.schema_watch import main, schema_watch

__all__ = ["main", "schema_watch"]

if __name__ == "__main__":
    sys.exit(main())
