"""Scenes in order, and one clip: the entry point of `prefect_hailuo.flows.storyboard` in a clone.

python flows/storyboard.py "A fox wakes." "It crosses a snowy field." --emulator
"""

import sys

from prefect_hailuo.flows.storyboard import main, storyboard

__all__ = ["main", "storyboard"]

if __name__ == "__main__":
    sys.exit(main())
