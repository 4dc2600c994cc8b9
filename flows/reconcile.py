"""A sweep over paid work: the entry point of `prefect_hailuo.flows.reconcile` in a clone.

python flows/reconcile.py --credentials my-fal
"""

import sys

from prefect_hailuo.flows.reconcile import main, reconcile

__all__ = ["main", "reconcile"]

if __name__ == "__main__":
    sys.exit(main())
