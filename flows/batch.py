"""A video for each row: the entry point of `prefect_hailuo.flows.batch` in a clone.

python flows/batch.py "A red fox crosses a snowy field." "An owl lands." --emulator
"""

import sys

from prefect_hailuo.flows.batch import batch, main

__all__ = ["batch", "main"]

if __name__ == "__main__":
    sys.exit(main())
