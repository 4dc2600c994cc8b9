"""The last point of the crash matrix: the video is stored, and Prefect does not know it yet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from uuid import UUID

from databases import SQLITE_FIRST, run_sql
from file_server import smallest_video
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from workers import is_whole, wait_until

from prefect_hailuo import Video
from prefect_hailuo.emulator import FalEmulator

FLOW = """
    import sys, time
    from pathlib import Path
    from prefect import flow
    from prefect.filesystems import LocalFileSystem
    from prefect.runtime import flow_run
    from prefect_hailuo import FalCredentials, hailuo_02_pro_text_to_video

    url, folder = sys.argv[1], Path(sys.argv[2])

    class Sticky(LocalFileSystem):
        '''A storage of results whose first write takes for ever.'''
        _block_type_slug = "sticky-file-system"

        def write_path(self, path, content, **options):
            if not (folder / "stuck").exists():
                (folder / "stuck").touch()
                time.sleep(600)
            return super().write_path(path, content, **options)

    sticky = Sticky(basepath=str(folder / "results"))
    sticky.save("sticky", overwrite=True)

    @flow(result_storage=sticky)
    def clip():
        (folder / "run").write_text(flow_run.id)
        return hailuo_02_pro_text_to_video(
            "A red fox.", credentials=FalCredentials.for_emulator(url), storage=folder / "videos"
        )

    (folder / "video").write_text(clip().model_dump_json())
"""


@contextmanager
def running_flow(emulator: FalEmulator, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The flow in a process of its own, against the tests' Prefect server."""
    environment = {
        **os.environ,
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    arguments = [sys.executable, "-c", dedent(FLOW), emulator.url, str(folder)]
    with subprocess.Popen(arguments, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def state_of(flow_run_id: str) -> str | None:
    """What Prefect calls a flow run's state."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(flow_run_id)).state_name


@SQLITE_FIRST
def test_killed_before_prefect_records_the_result(
    prefect_server: None, each_ledger: str, tiny: FalEmulator, tmp_path: Path
) -> None:
    """Stored by the ledger, and no record with Prefect: run again, it gets that very video."""
    with running_flow(tiny, tmp_path) as process:
        wait_until(lambda: (tmp_path / "stuck").exists() or process.poll() is not None, "stored")
        assert state_of((tmp_path / "run").read_text()) == "Running"
        assert not list(tmp_path.glob("results/*"))
        [row] = run_sql(each_ledger, "SELECT fate FROM hailuo_attempt", realm="emulator")
        assert (row["fate"], tiny.charged) == ("stored", 1)
        process.kill()
    with running_flow(tiny, tmp_path) as process:
        assert process.wait(60) == 0
    video = Video.model_validate_json((tmp_path / "video").read_bytes())
    assert is_whole(video, smallest_video())
    assert (tiny.charged, tiny.requests["submit"]) == (1, 1)
