"""Names by a template: checked before anything is bought, safe everywhere, and found again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_blocks import SyncMemory

from prefect_hailuo import (
    FalCredentials,
    Hailuo02ProTextToVideo,
    Ticket,
    Video,
    download_video,
    fetch_video,
    wait_for_video,
)
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import Billed, ConfigurationError, StorageError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.runs.execution import generating
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.runs.storage import Storage
from prefect_hailuo.storage.names import (
    LONGEST,
    NAME_BYTES,
    PART_BYTES,
    NameTemplate,
    parse_template,
)

FOX = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")

SETTING = "PREFECT_INTEGRATIONS_HAILUO_NAME_TEMPLATE"

BY_DAY = "{date}/{model}/{labels.client}/{slug}-{key}.mp4"

REFUSED = {
    "{date}/{sku}-{key}.mp4": "no field {sku}",
    "{labels}-{key}.mp4": "no field {labels}",
    "{date}/{slug}.mp4": "without {key}",
    "{key}.mov": "end with .mp4",
    "/videos/{key}.mp4": "begins with a slash",
    "{date}//{key}.mp4": "two in a row",
    "../{key}.mp4": "begins with a dot",
    "{date}/../{key}.mp4": "begins with a dot",
    ".hidden/{key}.mp4": "begins with a dot",
    "C:/{key}.mp4": "':'",
    "{date}\\{key}.mp4": r"'\\\\'",
    "{slug}?{key}.mp4": "'?'",
    "a\nb/{key}.mp4": r"'\\n'",
    "CON/{key}.mp4": "'CON' for a device",
    "lpt1.{date}/{key}.mp4": "for a device",
    "{date}./{key}.mp4": "ends with a dot",
    "{date} /{key}.mp4": "space",
    "{key}-{key}-{key}-{key}.mp4": "longer than 250",
    "{key}/" * 5 + "{key}.mp4": "longer than 400",
    "{date:%Y}/{key}.mp4": "alone in its braces",
    "{date/{key}.mp4": "braces",
}

WINDOWS_REFUSES = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|^\s|[. ]$|^(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)', re.I
)


def generate(
    credentials: FalCredentials, storage: Storage = None, *, take: int = 0, client: str = "Acme"
) -> Video:
    """The fox's video, from its place or a new one."""
    labels = {"client": client}
    order = make_order(FOX, credentials=credentials, storage=storage, take=take, labels=labels)
    return process_loop().run(generating(order).job)


@pytest.fixture
def by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template with all that changes from run to run."""
    monkeypatch.setenv(SETTING, BY_DAY)


# What a template may be


@pytest.mark.parametrize(("template", "problem"), REFUSED.items())
def test_what_could_go_wrong_is_refused_before_anything_is_bought(
    template: str,
    problem: str,
    emulator: FalEmulator,
    credentials: FalCredentials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says what is wrong with the template, and which setting to change."""
    monkeypatch.setenv(SETTING, template)
    with pytest.raises(ConfigurationError, match=SETTING) as caught:
        generate(credentials)
    assert problem.replace("\\\\", "\\") in caught.value.message
    assert (caught.value.billed, emulator.requests["submit"]) == (Billed.NO, 0)


FIELDS = [*LONGEST, "labels.client"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=100)), st.permutations(FIELDS))
def test_whatever_the_values_are_every_platform_takes_the_name(
    values: dict[str, str], order: list[str]
) -> None:
    """No value leads elsewhere, makes a name of a device, or one that is too long."""
    template = parse_template("-".join(f"{{{name}}}" for name in order[:3]) + "/{slug}/{key}.mp4")
    name = template.fill(values)
    parts = name.split("/")
    assert len(parts) == 3
    assert not [part for part in parts if not part or WINDOWS_REFUSES.search(part)]
    assert all(len(part.encode()) <= PART_BYTES for part in parts)
    assert len(name.encode()) <= NAME_BYTES


def test_a_value_that_is_a_devices_name_is_marked() -> None:
    """Windows would open the device instead of the folder."""
    assert NameTemplate("{slug}/{key}.mp4").fill({"slug": "Con", "key": "0"}) == "_con/0.mp4"


def test_by_default_names_are_what_they_always_were(credentials: FalCredentials) -> None:
    """So that what is stored is found."""
    video = generate(credentials)
    assert video.key is not None
    assert video.storage_key == f"a-red-fox-crosses-a-snowy-field-{video.key[:16]}.mp4"


# In a directory


@pytest.mark.usefixtures("by_day")
def test_a_video_is_where_the_template_puts_it(credentials: FalCredentials, tmp_path: Path) -> None:
    """With its record beside it, and nothing half made anywhere."""
    video = generate(credentials, tmp_path / "videos")
    assert video.key is not None and video.submitted_at is not None
    folder = tmp_path / "videos" / video.submitted_at.date().isoformat() / "hailuo-02-pro" / "acme"
    assert video.path == folder / f"a-red-fox-crosses-a-snowy-field-{video.key[:16]}.mp4"
    assert Video.model_validate_json(video.path.with_suffix(".json").read_bytes()) == video
    assert not [*(tmp_path / "videos").rglob("*.part")]


@pytest.mark.usefixtures("by_day")
def test_a_rerun_finds_it_where_it_is(
    emulator: FalEmulator,
    credentials: FalCredentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With other labels, and by another template: the ledger knows the place."""
    video = generate(credentials, tmp_path)
    assert generate(credentials, tmp_path, client="Bolt") == video
    monkeypatch.setenv(SETTING, "{year}/{key}.mp4")
    assert generate(credentials, tmp_path) == video
    monkeypatch.delenv(SETTING)
    assert (generate(credentials, tmp_path), emulator.charged) == (video, 1)


@pytest.mark.usefixtures("by_day")
@pytest.mark.parametrize("make", [lambda path: path / "videos", lambda _: SyncMemory()])
def test_it_is_found_without_the_ledger_too(
    make: Callable[[Path], Storage],
    emulator: FalEmulator,
    credentials: FalCredentials,
    tmp_path: Path,
    lose_ledger: Callable[[], None],
) -> None:
    """The place knows by the key where the video is, whatever day it was bought on."""
    storage = make(tmp_path)
    video, asked = generate(credentials, storage), emulator.requests.copy()
    lose_ledger()
    assert generate(credentials, storage, client="Bolt") == video
    assert emulator.requests == asked


def test_what_was_stored_before_there_was_a_template_is_found(
    emulator: FalEmulator,
    credentials: FalCredentials,
    tmp_path: Path,
    lose_ledger: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the ledger, and without it."""
    video = generate(credentials, tmp_path)
    monkeypatch.setenv(SETTING, BY_DAY)
    assert generate(credentials, tmp_path) == video
    lose_ledger()
    assert (generate(credentials, tmp_path), emulator.charged) == (video, 1)


def test_what_was_stored_by_a_template_is_found_by_default(
    emulator: FalEmulator,
    credentials: FalCredentials,
    tmp_path: Path,
    lose_ledger: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the place's index, though the template is the default again, and the ledger is new."""
    monkeypatch.setenv(SETTING, BY_DAY)
    video = generate(credentials, tmp_path)
    monkeypatch.delenv(SETTING)
    lose_ledger()
    assert (generate(credentials, tmp_path), emulator.charged) == (video, 1)


@pytest.mark.parametrize("key", ["../fox.mp4", "/fox.mp4", "..\\fox.mp4", "C:fox.mp4"])
def test_a_record_that_leads_out_of_the_place_is_refused(
    key: str,
    emulator: FalEmulator,
    credentials: FalCredentials,
    tmp_path: Path,
    lose_ledger: Callable[[], None],
    by_day: None,
) -> None:
    """Others may write into a shared folder: nothing is read, written or bought by such a name."""
    place = tmp_path / "videos"
    video = generate(credentials, place)
    (record,) = (place / ".hailuo").iterdir()
    said = video.model_dump(mode="json") | {"storage_key": key}
    record.write_text(json.dumps(said))
    lose_ledger()
    with pytest.raises(StorageError, match="leads out of the storage") as caught:
        generate(credentials, place)
    assert f"Restore .hailuo/{record.name}, or delete it" in caught.value.cure
    assert (emulator.charged, list(tmp_path.glob("*fox*"))) == (1, [])


@pytest.mark.usefixtures("by_day")
def test_a_file_that_has_gone_is_downloaded_to_where_it_was(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Damaged, deleted, or the whole folder: it costs a download and no other video."""
    video = generate(credentials, tmp_path)
    assert video.path is not None
    video.path.write_bytes(b"half")
    assert generate(credentials, tmp_path) == video
    for path in (video.path, video.path.with_suffix(".json")):
        path.unlink()
    video.path.parent.rmdir()
    assert generate(credentials, tmp_path) == video
    assert (video.is_there(), emulator.charged) == (True, 1)


@pytest.mark.usefixtures("by_day")
def test_a_second_paid_video_has_a_name_of_its_own(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """Two requests of one key were paid for: the template names both, the second with its id."""
    first = generate(credentials, tmp_path)

    async def send_another(connections: Connections, emit: Emit) -> Ticket:
        order = make_order(FOX, credentials=credentials, storage=tmp_path)
        client = AsyncFalClient(order.access, purchases=connections.purchases)
        return order.named(await client.submit(FOX.endpoint.id, FOX.body()))

    second = process_loop().run(send_another)
    wait_for_video.fn(second, credentials=credentials)
    output = fetch_video.fn(second, credentials=credentials)
    beside = download_video.fn(second, output, storage=tmp_path)
    assert first.is_there() and beside.is_there()
    assert second.request_id in beside.storage_key
    assert beside.storage_key.endswith(f"-{second.request_id}.mp4")


@pytest.mark.usefixtures("by_day")
def test_takes_have_names_of_their_own(
    credentials: FalCredentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a template that knows of no take, for each has a key."""
    videos = [generate(credentials, tmp_path, take=take) for take in range(3)]
    assert len({video.path for video in videos if video.is_there()}) == 3
    monkeypatch.setenv(SETTING, "take {take}/{key}.mp4")
    video = generate(credentials, tmp_path, take=7)
    assert video.storage_key.startswith("take 7/")


# In a block


@pytest.mark.usefixtures("by_day")
def test_a_block_has_the_same_names(
    emulator: FalEmulator, credentials: FalCredentials, tmp_path: Path
) -> None:
    """A copy goes by the same name in a block and in a directory, and is no purchase."""
    block = SyncMemory()
    first, copy = generate(credentials, tmp_path), generate(credentials, block)
    assert copy.storage_key == first.storage_key
    assert len(block._files[copy.storage_key]) == copy.size
    assert (generate(credentials, block), emulator.charged) == (copy, 1)
