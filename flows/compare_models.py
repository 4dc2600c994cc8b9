"""One prompt, several models: the entry point of `prefect_hailuo.flows.compare_models` in a clone.

python flows/compare_models.py "A red fox crosses a snowy field." --emulator
"""

import sys

from prefect_hailuo.flows.compare_models import compare_models, main

__all__ = ["compare_models", "main"]

if __name__ == "__main__":
    sys.exit(main())
