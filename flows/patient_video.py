"""A patient video: the entry point of `prefect_hailuo.flows.patient_video` in a clone.

python flows/patient_video.py "A red fox crosses a snowy field." --emulator
"""

import sys

from prefect_hailuo.flows.patient_video import main, patient_video

__all__ = ["main", "patient_video"]

if __name__ == "__main__":
    sys.exit(main())
