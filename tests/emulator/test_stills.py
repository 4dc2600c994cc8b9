"""Pictures at the emulator: judged as fal does, and seen in the video that was made of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from picture_ground import noisy_picture
from PIL import Image
from PIL.ImageStat import Stat
from roads import generate, path_of

from prefect_hailuo import Hailuo02FastImageToVideo, Hailuo23ProTextToVideo
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.emulator.clip import Stills, render
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.models.image import data_uri

from .asking import Asking
from .test_clip import decode, differ

SMALL = Hailuo02FastImageToVideo.endpoint
GREEN, RED = (20, 160, 60), (200, 30, 40)
WITH_A_PICTURE = [
    each
    for each, kind in CATALOGUE.items()
    if "image_url" in kind.model_fields and kind.model_fields["image_url"].is_required()
]


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (640, 360)) -> bytes:
    """A picture in one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def below_the_banner(frame: Image.Image) -> Image.Image:
    """What the emulator does not write over."""
    return frame.crop((0, frame.height // 5, frame.width, frame.height))


def is_in(colour: tuple[int, int, int], frame: Image.Image) -> bool:
    """Whether a frame is all in one colour, as near as an encoder keeps it."""
    means = Stat(below_the_banner(frame)).mean
    return all(abs(one - other) < 12 for one, other in zip(means, colour, strict=True))


def test_a_video_begins_and_ends_with_its_pictures() -> None:
    """A second of each, with the banner across; the prompt between them."""
    stills = Stills(picture(GREEN), picture(RED, (400, 400)))
    made = decode(render(SMALL, "She turns.", SMALL.default.picture, stills))
    assert len(made.frames) == 144
    assert [is_in(GREEN, made.picture(number)) for number in (0, 23, 24)] == [True, True, False]
    assert [is_in(RED, made.picture(number)) for number in (119, 120, 143)] == [False, True, True]
    banner = made.picture(0).crop((0, 0, 910, 20))
    assert not is_in(GREEN, banner)


@pytest.mark.parametrize(
    ("size", "made"),
    [
        ((1920, 1080), (910, 512)),
        ((400, 400), (512, 512)),
        ((360, 640), (512, 910)),
        ((1000, 400), (1280, 512)),
    ],
)
def test_a_video_has_its_pictures_shape(size: tuple[int, int], made: tuple[int, int]) -> None:
    """As MiniMax says of it; the shorter side keeps the lines."""
    frame = decode(render(SMALL, "Turn.", stills=Stills(picture(GREEN, size))), 1).frames[0]
    assert (frame.width, frame.height) == made


def test_what_is_no_picture_changes_nothing() -> None:
    """A video is drawn all the same, as wide as ever."""
    frame = decode(render(SMALL, "Turn.", stills=Stills(b"\x89PNG\r\n\x1a\n...")), 1).frames[0]
    assert (frame.width, frame.height) == (910, 512)


@pytest.mark.parametrize("large", [True, False], ids=["uploaded", "inline"])
def test_a_picture_is_seen_in_the_video(large: bool, tmp_path: Path) -> None:
    """Whether it was uploaded to the emulator's storage or sent in the body itself."""
    content = noisy_picture() if large else picture(GREEN, (400, 320))
    path = tmp_path / "her.png"
    path.write_bytes(content)
    with FalEmulator(speed=1000) as emulator:
        shot = Hailuo02FastImageToVideo(prompt="She turns.", image_url=path)
        video = generate(emulator, tmp_path, shot)
        assert len(emulator.uploads) == large
    assert (video.width, video.height) == (640, 512)
    first = below_the_banner(decode(path_of(video).read_bytes(), 1).picture(0))
    with Image.open(path) as given:
        expected = below_the_banner(given.convert("RGB").resize((640, 512)))
    assert differ(first, expected) < 25
    assert differ(first, Image.new("RGB", first.size, "white")) > 60


def ask(fal: Asking, endpoint: str, **body: Any) -> Any:
    """The result of a request."""
    answer = fal.http.post(f"/{endpoint}", json={"prompt": "She turns.", **body})
    return fal.result(answer.json()["request_id"])


@pytest.mark.parametrize("endpoint", WITH_A_PICTURE)
def test_a_picture_is_required(endpoint: str, fal: Asking, emulator: FalEmulator) -> None:
    """As by fal's schema: without, or with something that is no text, a 422 that costs nothing."""
    for body, kind in (({}, "missing"), ({"image_url": 7}, "string_type")):
        result = ask(fal, endpoint, **body)
        (problem,) = result.json()["detail"]
        assert (result.status_code, problem["type"]) == (422, kind)
        assert problem["loc"] == ["body", "image_url"]
    assert emulator.charged == 0


def test_a_picture_that_is_none_is_refused(fal: Asking, emulator: FalEmulator) -> None:
    """What cannot be loaded, or is not in the storage; whichever of the two it is."""
    good = data_uri(picture(GREEN), "image/png")
    flawed = {
        "data:image/png;base64,!": "image_load_error",
        data_uri(b"GIF89a", "image/gif"): "image_load_error",
        f"{emulator.url}/storage/none.png": "file_download_error",
    }
    endpoint = "fal-ai/minimax/hailuo-02/pro/image-to-video"
    for source, kind in flawed.items():
        for body in ({"image_url": source}, {"image_url": good, "end_image_url": source}):
            result = ask(fal, endpoint, **body)
            (problem,) = result.json()["detail"]
            assert (problem["type"], problem["loc"]) == (kind, ["body", list(body)[-1]])
    assert emulator.charged == 0


def test_a_picture_elsewhere_is_taken_for_good(fal: Asking, emulator: FalEmulator) -> None:
    """The emulator asks no other host; nor does it look at fields that an endpoint has not."""
    ids = [SMALL.id, Hailuo23ProTextToVideo.endpoint.id]
    sources = ["https://example.com/her.png", "data:image/png;base64,!"]
    for endpoint, source in zip(ids, sources, strict=True):
        assert ask(fal, endpoint, image_url=source).status_code == 400  # still in progress
