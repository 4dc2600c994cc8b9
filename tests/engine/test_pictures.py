"""The road of a generation with pictures: what they are decides, and they come to fal once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from picture_ground import (
    PictureServer,
    Served,
    Shot,
    declare,
    identity,
    noisy_picture,
    picture_with_thumbnail,
    plain_picture,
    png_chunk,
    saved,
    serving_pictures,
    shot,
)
from roads import generate, order_of, path_of, record_of

from prefect_hailuo import Budget, Hailuo02StandardImageToVideo
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.batch import Batch
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.order import Order
from prefect_hailuo.engine.outcome import VideoOutcomes
from prefect_hailuo.errors import Billed, BudgetError, ConfigurationError, ImageError
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.models.image import data_uri
from prefect_hailuo.runs.estimate import estimate
from prefect_hailuo.runs.execution import acquiring
from prefect_hailuo.storage.names import name_and_key


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    declare()
    yield
    del CATALOGUE[Shot.endpoint.id]


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """A web server of pictures."""
    with serving_pictures() as started:
        yield started


def carry(orders: list[Order]) -> VideoOutcomes:
    """A batch, to its end."""

    async def job(connections: Connections, emit: Emit) -> VideoOutcomes:
        return await Batch(orders, connections, emit).run()

    return process_loop().run(job)


# The same picture is the same generation


def test_a_picture_counts_by_its_content(
    tmp_path: Path, tiny: FalEmulator, server: PictureServer
) -> None:
    """As a path, as bytes, as a data: URI, at another path, by a URL signed anew: bought once."""
    content = plain_picture()
    server.files["/still.png"] = Served(content)
    ways: list[str | Path | bytes] = [
        saved(tmp_path, content),
        content,
        data_uri(content, "image/png"),
        saved(tmp_path, content, "copy.png"),
        f"{server.url}/still.png?signature=one",
        f"{server.url}/still.png?signature=two",
    ]
    videos = [generate(tiny, tmp_path / "videos", shot(each)) for each in ways]
    assert len({path_of(video) for video in videos}) == tiny.charged == 1
    generate(tiny, tmp_path / "videos", shot(plain_picture(shade=91)))
    assert tiny.charged == 2


def test_a_small_picture_is_sent_inline(tmp_path: Path, tiny: FalEmulator) -> None:
    """A data: URI in the body; nothing is uploaded."""
    content = plain_picture(kind="JPEG")
    generate(tiny, tmp_path / "videos", shot(saved(tmp_path, content, "still.jpg")))
    assert tiny.submissions[0].body["image_url"] == data_uri(content, "image/jpeg")
    assert tiny.uploads == []


def test_a_large_picture_is_uploaded_without_the_key(tmp_path: Path, tiny: FalEmulator) -> None:
    """It is put where fal's API says, which alone is given the key; the body has its URL."""
    content = noisy_picture()
    generate(tiny, tmp_path / "videos", shot(saved(tmp_path, content)))
    [upload] = tiny.uploads
    assert (upload.content, upload.content_type, upload.authorized) == (content, "image/png", False)
    assert tiny.submissions[0].body["image_url"] == tiny.url + upload.path


def test_both_pictures_count(tmp_path: Path, tiny: FalEmulator) -> None:
    """The last picture is part of the generation too, and may be the same as the first."""
    content = noisy_picture()
    first = saved(tmp_path, content)
    both = Shot(prompt="It moves.", image_url=first, end_image_url=content)
    generate(tiny, tmp_path / "videos", shot(first))
    generate(tiny, tmp_path / "videos", both)
    body = tiny.submissions[1].body
    assert body["image_url"] == body["end_image_url"]
    assert (tiny.charged, len(tiny.uploads)) == (2, 1)


def test_a_refused_budget_uploads_nothing(tmp_path: Path, tiny: FalEmulator) -> None:
    """Only what is really to be bought is uploaded."""
    budget = Budget(scope="none", total_usd=Decimal(0))
    with pytest.raises(BudgetError):
        generate(tiny, tmp_path / "videos", shot(noisy_picture()), budget=budget)
    assert (tiny.uploads, tiny.submissions) == ([], [])


# A picture that is gone


def test_a_picture_that_is_gone(tmp_path: Path, tiny: FalEmulator) -> None:
    """Nobody can tell what it was, so that is an error; by its digest, its video is still had."""
    content = plain_picture()
    path = saved(tmp_path, content)
    video = generate(tiny, tmp_path / "videos", shot(path))
    path.unlink()
    with pytest.raises(ImageError, match="no picture") as raised:
        generate(tiny, tmp_path / "videos", shot(path))
    assert "still stored" in raised.value.cure
    assert generate(tiny, tmp_path / "videos", shot(identity(content))) == video
    with pytest.raises(ImageError, match="was not made yet"):
        generate(tiny, tmp_path / "videos", shot(identity(b"another")))
    assert tiny.charged == 1


# What is told of it


def test_records_say_what_the_picture_is(
    tmp_path: Path, tiny: FalEmulator, server: PictureServer
) -> None:
    """Its digest, from which the key follows; a signed URL is in no record, ticket or ledger."""
    content = noisy_picture()
    server.files["/still.png"] = Served(content)
    order = order_of(tiny, tmp_path / "videos", shot(f"{server.url}/still.png?sig=hush-hush"))
    ticket = process_loop().run(acquiring(order).job)
    assert ticket.input == {**shot("/x").body(), "image_url": identity(content)}
    video = generate(tiny, tmp_path / "videos", order.input)
    assert name_and_key(ticket)[1] == video.key
    files = [record_of(video), *(tmp_path / "ledger").iterdir()]
    assert not any(b"hush-hush" in path.read_bytes() for path in files)
    assert "hush-hush" not in str(tiny.submissions) + ticket.model_dump_json()


# Batches


def test_a_batch_reads_and_uploads_a_picture_once(
    tmp_path: Path, tiny: FalEmulator, server: PictureServer
) -> None:
    """However many videos are made of it; and a picture that cannot be had fails alone."""
    server.files["/still.png"] = Served(noisy_picture())
    url = f"{server.url}/still.png"
    inputs = [shot(url, f"It moves in way {number}.") for number in range(40)]
    inputs.append(shot(f"{server.url}/none.png?sig=hush-hush"))
    outcomes = carry([order_of(tiny, tmp_path / "videos", each) for each in inputs])
    assert (len(outcomes.videos), tiny.charged) == (40, 40)
    [failed] = outcomes.failed
    assert (failed.index, failed.failure and failed.failure.kind) == (40, "ImageError")
    assert failed.failure and "hush-hush" not in str(failed.failure)
    assert [path for path, _ in server.requests].count("/still.png") == 1
    assert len(tiny.uploads) == 1


def test_a_batch_counts_equal_pictures_once(tmp_path: Path, tiny: FalEmulator) -> None:
    """The same picture under two names is one video."""
    content = plain_picture()
    names = [saved(tmp_path, content), saved(tmp_path, content, "copy.png")]
    outcomes = carry([order_of(tiny, tmp_path / "videos", shot(each)) for each in names])
    assert (len(outcomes.videos), tiny.charged) == (2, 1)


def test_an_estimate_looks_at_the_pictures(tmp_path: Path, tiny: FalEmulator) -> None:
    """What is stored costs nothing, by whatever name its picture goes. Of what is not to be had
    here, another machine or a later run would buy the video: nobody approves it for nothing."""
    content = plain_picture()
    generate(tiny, tmp_path / "videos", shot(content))
    asked = [shot(saved(tmp_path, content)), shot("/none.png"), shot(plain_picture(shade=1))]
    lines = estimate(asked, credentials=tiny.credentials()).lines
    assert [line.state for line in lines] == ["stored", "failed", "new"]
    price = shot(content).price_usd
    assert [line.cost_usd for line in lines] == [0, price, price]


# What is refused


PHOTO = picture_with_thumbnail()

LITTLE = plain_picture(400, 400)

HOLDING = LITTLE[:33] + png_chunk(b"teSt", LITTLE) + LITTLE[33:]
"""A PNG that holds another."""

UNFIT: list[tuple[bytes, str, str]] = [
    (b"GIF89a" + bytes(100), "JPEG, PNG, WebP", "Convert"),
    (b"", "JPEG, PNG, WebP", "Convert"),
    (plain_picture(300, 500), "300×500; the shorter side", "larger picture"),
    (plain_picture(1000, 399), "1000×399; its sides", "Crop"),
    (plain_picture(399, 1000), "399×1000; its sides", "Crop"),
    (noisy_picture()[:-20], "cut off", "Copy it again"),
    (plain_picture(kind="WebP")[:-20], "cut off", "Copy it again"),
    (plain_picture(kind="JPEG")[:-20], "cut off", "Copy it again"),
    (PHOTO[: len(PHOTO) // 5], "cut off", "Copy it again"),
    (PHOTO[: len(PHOTO) // 20], "cut off", "Copy it again"),
    (HOLDING[: len(HOLDING) - 20], "cut off", "Copy it again"),
    (plain_picture() + bytes(20_000_000), "less than 20 MB", "Save it as a JPEG"),
]
"""Pictures, what is wrong with them, and what cures it."""


def test_what_minimax_would_not_take_is_refused(tmp_path: Path, tiny: FalEmulator) -> None:
    """Before anything is spent, with what to do about it."""
    files = [saved(tmp_path, each[0], f"{number}.png") for number, each in enumerate(UNFIT)]
    outcomes = carry([order_of(tiny, tmp_path / "videos", shot(each)) for each in files])
    for outcome, (_, reason, cure) in zip(outcomes, UNFIT, strict=True):
        error = outcome.error
        assert isinstance(error, ImageError)
        assert reason in error.message and cure in error.cure
        assert (error.billed, error.retryable) == (Billed.NO, False)
    assert (tiny.submissions, tiny.uploads) == ([], [])


def test_what_minimax_takes_is_taken(tmp_path: Path, tiny: FalEmulator) -> None:
    """All three formats, up to the limits."""
    limits = [(301, 301), (1000, 400), (400, 1000)]
    kinds = ("PNG", "JPEG", "WebP")
    pictures = [plain_picture(*sides, kind) for sides in limits for kind in kinds]
    pictures += [PHOTO, PHOTO + b"what a phone adds behind it", HOLDING]
    orders = [order_of(tiny, tmp_path / "videos", shot(each)) for each in pictures]
    assert len(carry(orders).videos) == tiny.charged == 12


def test_no_end_picture_is_sent_with_512p(tmp_path: Path, tiny: FalEmulator) -> None:
    """MiniMax makes no such video, and fal would take the money; either alone is bought."""
    content = plain_picture()
    ends: dict[str, Any] = {"prompt": "It moves.", "image_url": content, "end_image_url": content}
    small = Hailuo02StandardImageToVideo(**ends, resolution="512P")
    error = carry([order_of(tiny, tmp_path, small)])[0].error
    assert isinstance(error, ConfigurationError) and "end picture in 512P" in error.message
    assert (error.billed, tiny.submissions, tiny.uploads) == (Billed.NO, [], [])
    large = small.model_copy(update={"resolution": "768P"})
    alone = small.model_copy(update={"end_image_url": None})
    assert len(carry([order_of(tiny, tmp_path, each) for each in (large, alone)]).videos) == 2


def test_what_cannot_be_read_is_refused(tmp_path: Path, tiny: FalEmulator) -> None:
    """A folder, and a name that cannot be one."""
    for odd in (str(tmp_path), "/shots/\0.png"):
        with pytest.raises(ImageError) as raised:
            generate(tiny, tmp_path / "videos", shot(odd))
        assert (raised.value.billed, raised.value.retryable) == (Billed.NO, False)
