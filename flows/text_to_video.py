"""One prompt, one video: the entry point of `prefect_hailuo.flows.text_to_video` in a clone.

python flows/text_to_video.py "A red fox crosses a snowy field." --emulator
"""

import sys

from prefect_hailuo.flows.text_to_video import main, text_to_video

__all__ = ["main", "text_to_video"]

if __name__ == "__main__":
    sys.exit(main())
