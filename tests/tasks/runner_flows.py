"""A flow on Dask or Ray, in a process of its own: chunks of a catalogue that overlap on purpose.

python runner_flows.py dask|ray EMULATOR_URL KEY FOLDER
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow

from prefect_hailuo import (
    FalCredentials,
    Hailuo02ProTextToVideo,
    VideoOutcomes,
    generate_video,
    generate_videos,
)
from prefect_hailuo.errors import HailuoError

SHOTS = 12
CHUNKS = (range(8), range(4, SHOTS), range(2, 10))
SINGLES = (0, 5, 11)
REFUSED = "Refused."


def clip(number: int) -> Hailuo02ProTextToVideo:
    """One of the catalogue."""
    return Hailuo02ProTextToVideo(prompt=f"Shot {number}.")


def runner(name: str, folder: str) -> Any:
    """Two workers in processes of their own, which listen to this machine alone."""
    if name == "dask":
        return import_module("prefect_dask").DaskTaskRunner(
            cluster_kwargs={
                "n_workers": 2,
                "threads_per_worker": 1,
                "processes": True,
                "host": "127.0.0.1",
                "dashboard_address": None,
                "local_directory": folder,
            }
        )
    # Ray's own way to keep a cluster on the loopback, on every system.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # or Ray leaves one in the home directory
    options = {"num_cpus": 2, "include_dashboard": False, "_temp_dir": folder}
    return import_module("prefect_ray").RayTaskRunner(init_kwargs=options)


@flow
def overlapping(credentials: FalCredentials, folder: str) -> dict[str, Any]:
    """Every video is wanted several times, by several workers."""
    options: dict[str, Any] = {"credentials": credentials, "storage": folder}
    chunks = [generate_videos.submit([clip(n) for n in each], **options) for each in CHUNKS]
    singles = [generate_video.submit(clip(n), **options) for n in SINGLES]
    refused = Hailuo02ProTextToVideo(prompt=REFUSED)
    last = generate_videos.submit([refused], **options)
    alone = generate_video.submit(refused, **options)
    return {
        "chunks": [described(each.result()) for each in chunks],
        "singles": [str(each.result().path) for each in singles],
        "failed": described(last.result()),
        "raised": raised_by(alone),
    }


def described(outcomes: VideoOutcomes) -> list[str]:
    """What each is: the path of its video, or the kind of its error."""
    assert isinstance(outcomes, VideoOutcomes)
    return [each.failure.kind if each.failure else str(each.result().path) for each in outcomes]


def raised_by(future: Any) -> list[str]:
    """What a task raised, as it arrives in the flow."""
    try:
        future.result()
    except HailuoError as error:
        request_id = error.ticket.request_id if error.ticket else ""
        return [type(error).__name__, error.billed.value, request_id]
    return []


def main(name: str, url: str, key: str, folder: str) -> None:
    """Run the flow, and print what arrived in it as the last line."""
    credentials = FalCredentials.for_emulator(url, key)
    # Short, for there are sockets in it, whose paths must be.
    with TemporaryDirectory(ignore_cleanup_errors=True) as own:
        run = overlapping.with_options(task_runner=runner(name, own))
        arrived = run(credentials, str(Path(folder) / "videos"))
    sys.stdout.write(f"\n{json.dumps(arrived)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
