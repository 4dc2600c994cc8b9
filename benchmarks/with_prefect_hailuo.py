"""The same flow with this package: one line.

The credentials lead to the benchmark's emulator, but are those of the realm `fal`: the package
takes it for fal itself, where money is spent.
"""

import os
import sys
from pathlib import Path

from prefect import flow

from prefect_hailuo import FalCredentials, hailuo_02_pro_text_to_video


def credentials() -> FalCredentials:
    """The key is in `FAL_KEY`, as it would be for fal."""
    url = os.environ["BENCHMARK_FAL_URL"]
    return FalCredentials(
        queue_url=url,
        run_url=f"{url}/run",
        rest_url=f"{url}/rest",
        platform_url=f"{url}/platform/v1",
    )


@flow
def clip(prompt: str, folder: Path) -> None:
    """One video."""
    hailuo_02_pro_text_to_video(prompt, credentials=credentials(), storage=str(folder))


if __name__ == "__main__":
    clip(sys.argv[1], Path(sys.argv[2]))
