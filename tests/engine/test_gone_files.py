"""Gone or not there yet: only what was stored, and is gone for certain, is paid for again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from databases import run_sql
from file_server import smallest_video
from roads import generate, hurried, path_of

from prefect_hailuo.emulator import FalEmulator, edit, expire_file, expire_result, wrong_bytes
from prefect_hailuo.errors import DownloadError, VideoExpiredError
from prefect_hailuo.storage import download

REFUSALS = (401, 403, 404, 410)


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is older than fal keeps files."""
    monkeypatch.setattr(download, "KEPT_SECONDS", 0.0)


def linked_to(link: str) -> Callable[[Any], Any]:
    """A result whose link is another."""
    return lambda body: {**body, "video": {**body["video"], "url": link}}


def fates(url: str) -> list[tuple[str, bool]]:
    """The fate of each attempt, and whether it is left to a person."""
    rows = run_sql(url, "SELECT fate, parked_at FROM hailuo_attempt ORDER BY number")
    return [(row["fate"], row["parked_at"] is not None) for row in rows]


# What was never stored


@pytest.mark.parametrize("status", REFUSALS)
def test_a_file_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, fal: FalEmulator, each_ledger: str, status: int
) -> None:
    """One refusal of a file seconds old is no reason to pay again, whatever is allowed."""
    fal.faults.add(expire_file(status))
    video = generate(fal, tmp_path, on_lost="resubmit")
    assert (video.is_there(), fal.charged) == (True, 1)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_forbidden_host_never_leads_to_a_purchase(
    tmp_path: Path, fal: FalEmulator, each_ledger: str, status: int
) -> None:
    """Run after run, with every consent, it is charged once; and it is there at last."""
    fal.faults.add(expire_file(status, count=None))
    for _ in range(3):
        with pytest.raises(DownloadError, match="HTTP") as caught:
            hurried(fal, tmp_path, on_lost="resubmit", on_ambiguous="resubmit")
        assert (type(caught.value), caught.value.retryable) == (DownloadError, True)
        assert "run it again" in caught.value.cure and "on_lost" not in str(caught.value)
    fal.faults.clear()
    assert hurried(fal, tmp_path).is_there()
    assert (fal.charged, fal.requests["submit"]) == (1, 1)


@pytest.mark.usefixtures("long_ago")
def test_what_was_never_stored_is_not_lost(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """Expired for certain, it is left to a person: `on_lost` concerns what was stored."""
    fal.faults.add(expire_file(count=None))
    for _ in range(2):
        with pytest.raises(VideoExpiredError, match="allow-one-resubmit"):
            hurried(fal, tmp_path, on_lost="resubmit")
    assert (fal.charged, fates(each_ledger)) == (1, [("succeeded", True)])


# A link that was written down


@pytest.mark.parametrize("link", ["http://127.0.0.1:9/gone.mp4", "video.mp4", "http://[::1", "-"])
def test_a_bad_link_is_asked_for_again(tmp_path: Path, fal: FalEmulator, link: str) -> None:
    """The result names a good one by now; the record has that one."""
    link = f"{fal.url}/files/none/video.mp4" if link.endswith("gone.mp4") else link
    fal.faults.add(edit("result", linked_to(link)))
    video = hurried(fal, tmp_path)
    assert video.is_there() and video.url.startswith(f"{fal.url}/files/{video.request_id}")
    assert (fal.charged, fal.requests["result"]) == (1, 2)


def test_a_bad_link_of_an_earlier_run_is_asked_for_again(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """It was written down, and is not believed for ever."""
    fal.faults.add(edit("result", linked_to("video.mp4"), count=None))
    fal.history.omits_payloads = True
    with pytest.raises(DownloadError, match="is not https"):
        hurried(fal, tmp_path)
    fal.faults.clear()
    assert hurried(fal, tmp_path).is_there()
    assert (fal.charged, fal.requests["submit"]) == (1, 1)


def test_the_history_is_asked_too(tmp_path: Path, fal: FalEmulator) -> None:
    """Where the queue has the result no longer, the history names the link."""
    fal.faults.add(edit("result", linked_to("video.mp4")), expire_result(nth=2, count=None))
    assert hurried(fal, tmp_path).is_there()
    assert fal.charged == 1


# What was stored


@pytest.mark.usefixtures("long_ago")
def test_consents_to_replace_what_is_lost_are_counted(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """However often a stored file is lost, three requests are the most for one key."""
    for _ in range(3):
        fal.faults.clear()
        # The new file is served, and the old one is not.
        if fal.charged:
            fal.faults.add(expire_file(count=download.MOST_ATTEMPTS))
        path_of(hurried(fal, tmp_path, on_lost="resubmit")).unlink()
    fal.faults.add(expire_file(count=None))
    with pytest.raises(VideoExpiredError, match="made 3 times already"):
        hurried(fal, tmp_path, on_lost="resubmit")
    assert (fal.charged, fates(each_ledger)) == (3, [("stored", False)] * 3)


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize("status", [401, 403])
def test_a_stored_file_is_not_gone_because_a_proxy_says_so(
    tmp_path: Path, fal: FalEmulator, status: int
) -> None:
    """However old it is, and whatever is allowed."""
    path_of(generate(fal, tmp_path)).unlink()
    fal.faults.add(expire_file(status, count=None))
    with pytest.raises(DownloadError, match="has gone from") as caught:
        hurried(fal, tmp_path, on_lost="resubmit")
    assert (type(caught.value), caught.value.retryable, fal.charged) == (DownloadError, True, 1)


def test_a_young_stored_file_is_not_gone_either(
    tmp_path: Path, fal: FalEmulator, each_ledger: str
) -> None:
    """fal keeps files for seven days, and its file server may be out of order before that."""
    video = generate(fal, tmp_path)
    path_of(video).unlink()
    fal.faults.add(expire_file(count=None))
    with pytest.raises(DownloadError, match="has gone from") as caught:
        hurried(fal, tmp_path, on_lost="resubmit")
    assert (type(caught.value), fal.charged) == (DownloadError, 1)
    # Eight days later it is: by the date in the ledger's row.
    record = json.loads(video.model_dump_json())
    for name in ("submitted_at", "completed_at", "stored_at"):
        record[name] = record[name].replace("20", "19", 1)
    text = json.dumps(record).replace("'", "''").replace(":", r"\:")
    run_sql(each_ledger, f"UPDATE hailuo_file SET video = '{text}'")  # noqa: S608
    with pytest.raises(VideoExpiredError, match="allow it with on_lost='resubmit'"):
        hurried(fal, tmp_path)
    assert fal.charged == 1


def test_another_file_under_the_link_is_not_taken_for_it(tmp_path: Path, fal: FalEmulator) -> None:
    """Nor for a proof that it has gone."""
    path_of(generate(fal, tmp_path)).unlink()
    fal.faults.add(wrong_bytes(smallest_video(b"another"), count=None))
    with pytest.raises(DownloadError, match="now serves another file") as caught:
        hurried(fal, tmp_path, on_lost="resubmit")
    assert (type(caught.value), fal.charged) == (DownloadError, 1)
