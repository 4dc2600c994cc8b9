"""Ledgers, exports and videos that the first release wrote: nothing in them is bought again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run, succeed
from databases import LEDGER_URL
from ledger_ground import decided, end_leases, latest, ledger_at, purchase
from released import FOLDER, VIDEOS, kind_of, told
from roads import generate, path_of, record_of

from prefect_hailuo import Hailuo23ProTextToVideo, Video
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import ParkedError

FOX = Hailuo23ProTextToVideo(prompt="A red fox.")

pytestmark = pytest.mark.usefixtures("release")


def assert_found(emulator: FalEmulator, input: Hailuo23ProTextToVideo, take: str) -> Video:
    """A rerun finds the stored file, and its record; fal is not even asked to sell."""
    before = sorted(VIDEOS.iterdir())
    video = generate(emulator, VIDEOS, input, take=take)
    assert (emulator.charged, emulator.requests["submit"], emulator.requests["media"]) == (0, 0, 0)
    assert sorted(VIDEOS.iterdir()) == before
    assert video.is_there() and path_of(video).parent == VIDEOS
    record = Video.model_validate_json(record_of(video).read_bytes())
    known = ("path", "sha256", "key", "take", "input", "request_id")
    assert all(getattr(record, each) == getattr(video, each) for each in known)
    return video


async def test_every_attempt_means_what_it_meant(released_ledger: str) -> None:
    """Its fate, what it cost, and what a call for the same then does."""
    end_leases(released_ledger)
    async with ledger_at(released_ledger) as ledger:
        for word, known in told("attempts").items():
            one = await latest(ledger, known["key"])
            assert (one.fate.value, one.billed and one.billed.value) == (
                known["fate"],
                known["billed"],
            ), word
            asked = purchase(known["key"], waiter="a rerun")
            assert await decided(ledger, asked) == known["rerun"], word


def test_what_was_bought_is_found(released_ledger: str, tiny: FalEmulator) -> None:
    """Both takes, each its own file."""
    kind = kind_of(released_ledger)
    videos = [assert_found(tiny, FOX, take) for take in (kind, f"{kind} again")]
    assert len({each.path for each in videos}) == 2
    assert {tuple(each.labels.items()) for each in videos} == {(("shot", "1"),)}
    generate(tiny, VIDEOS, FOX, take=f"{kind} anew")
    assert tiny.charged == 1


def test_what_may_have_been_bought_stays_parked(tiny: FalEmulator) -> None:
    """Its POST's answer was lost, and fal's history does not show it."""
    with pytest.raises(ParkedError):
        generate(tiny, VIDEOS, Hailuo23ProTextToVideo(prompt="A lost answer."))
    assert tiny.requests["submit"] == 0


def test_what_was_imported_from_fals_history_is_found(tiny: FalEmulator) -> None:
    """Its ledger was lost, and the release entered it anew."""
    assert_found(tiny, Hailuo23ProTextToVideo(prompt="A lost ledger."), "0")


def test_the_commands_tell_the_same_story(released_ledger: str) -> None:
    """All that the release's own commands said of its attempts and of what they cost."""
    end_leases(released_ledger)
    for words, said in told(kind_of(released_ledger)).items():
        now = succeed(*words.split(), "--json").json
        if words.startswith("spend"):
            assert now["groups"] == said["groups"]
            limits = {(each["scope"], each["period"]): each["limit_usd"] for each in now["limits"]}
            for each in said["limits"]:
                assert limits[each["scope"], each["period"]] == each["limit_usd"]
            continue
        assert len(now) == len(said)
        for row, known in zip(now, said, strict=True):
            # An owner's lease has ended since; a ticket may have fields that came since.
            same = known.keys() - {"rerun", "lease_until", "ticket"}
            assert {name: row[name] for name in same} == {name: known[name] for name in same}
            ticket = known["ticket"] or {}
            assert {name: row["ticket"][name] for name in ticket} == ticket


@pytest.mark.parametrize("realm", ["fal", "emulator"])
def test_its_ledger_is_exported_as_it_was(realm: str) -> None:
    """Line by line, but for the first, which says when."""
    lines = run("ledger", "export", "-", "--realm", realm).out.splitlines()[1:]
    known = (FOLDER / f"export-{realm}.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(map(_row, lines)) == sorted(map(_row, known))


def _row(line: str) -> str:
    return json.dumps(json.loads(line), sort_keys=True)


async def test_its_exported_lines_are_imported(each_ledger: str, tiny: FalEmulator) -> None:
    """Into either database: attempts mean what they meant, and what was bought is found."""
    for realm in ("fal", "emulator"):
        succeed("ledger", "import", FOLDER / f"export-{realm}.jsonl", "--realm", realm)
    # Its owner may have gone on since; and no consent is taken over.
    otherwise = {"intended": "Reconcile", "consented": "Reconcile"}
    async with ledger_at(each_ledger) as ledger:
        for word, known in told("attempts").items():
            found = await decided(ledger, purchase(known["key"], waiter="a rerun"))
            assert found == otherwise.get(word, known["rerun"]), word
    assert_found(tiny, FOX, "sqlite")


def test_its_records_alone_tell_what_was_bought(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger was lost, and the videos are there with their records beside them."""
    monkeypatch.setenv(LEDGER_URL, f"sqlite:///{tmp_path}/empty/ledger.db")
    for record in VIDEOS.glob("*.json"):
        video = Video.model_validate_json(record.read_bytes())
        assert (video.path, video.storage) == (record.with_suffix(".mp4"), f"directory:{VIDEOS}")
        assert video.is_there()
    assert_found(tiny, FOX, "sqlite")
