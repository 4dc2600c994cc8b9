"""Hailuo 3: what its inputs refuse before money, what they send, and what they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from prefect_hailuo import (
    H3ImageToVideo,
    H3MaxImageToVideo,
    H3MaxReferenceToVideo,
    H3MaxTextToVideo,
    H3MaxTurboImageToVideo,
    H3MaxTurboTextToVideo,
    H3ReferenceToVideo,
    H3TextToVideo,
)
from prefect_hailuo.emulator.outcome import validate
from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput
from prefect_hailuo.models.key import generation_key
from prefect_hailuo.runs.estimate import estimate, quote

TEXT: list[type[VideoInput]] = [H3TextToVideo, H3MaxTextToVideo, H3MaxTurboTextToVideo]
IMAGE: list[type[VideoInput]] = [H3ImageToVideo, H3MaxImageToVideo, H3MaxTurboImageToVideo]
REFERENCE: list[type[VideoInput]] = [H3ReferenceToVideo, H3MaxReferenceToVideo]

URL = "https://example.com/"


def images(count: int) -> list[str]:
    """So many pictures."""
    return [f"{URL}{number}.png" for number in range(count)]


def made(kind: type[VideoInput], **fields: Any) -> VideoInput:
    """An input of a kind, with what the kind must have."""
    shown: dict[str, Any] = {}
    if kind in IMAGE:
        shown = {"image_url": f"{URL}fox.png"}
    if kind in REFERENCE:
        shown = {"reference_image_urls": images(1)}
    return kind.model_validate({"prompt": "A fox.", **shown, **fields})


each_kind = pytest.mark.parametrize("kind", TEXT + IMAGE + REFERENCE)


@each_kind
def test_what_decides_the_price_is_always_sent(kind: type[VideoInput]) -> None:
    """Numbers are numbers, and nothing is left to fal's defaults, of which one is dear."""
    body = made(kind).body()
    assert (body["duration"], type(body["duration"])) == (5, int)
    assert body["resolution"] == ("2K" if kind.endpoint.id.startswith("minimax/h3/") else "768P")
    assert (body["prompt_expansion_mode"], body["enable_safety_checker"]) == ("balanced", True)
    assert "seed" not in body and "sync_mode" not in body and None not in body.values()
    assert (
        made(kind, duration="7", seed="-3").body() | {"duration": 7, "seed": -3}
        == made(kind, duration=7, seed=-3).body()
    )


@each_kind
@pytest.mark.parametrize(
    "wrong",
    [
        {"duration": 4},
        {"duration": 16},
        {"duration": 7.5},
        {"resolution": "480p"},
        {"resolution": "512P"},
        {"seed": 0.5},
        {"prompt_expansion_mode": None},
        {"prompt_expansion_mode": "Fast"},
        {"sync_mode": True},
        {"prompt_optimizer": False},
        {"prompt": "x" * 50_001},
        {"prompt": " \n"},
    ],
)
def test_what_fal_would_refuse_is_refused_here(
    kind: type[VideoInput], wrong: dict[str, Any]
) -> None:
    """Before anything is spent; a prompt may be long, but not longer than fal says."""
    assert made(kind, prompt="x" * 50_000)
    with pytest.raises(ValidationError):
        made(kind, **wrong)


def test_each_mode_has_its_shapes() -> None:
    """Six for a text, one more for references, and none for pictures, which decide it."""
    for kind in TEXT:
        wide = made(kind, aspect_ratio="21:9").picture
        assert wide.width > 2 * wide.height
        with pytest.raises(ValidationError):
            made(kind, aspect_ratio="adaptive")
    for kind in REFERENCE:
        assert made(kind).body()["aspect_ratio"] == "adaptive"
    for kind in IMAGE:
        with pytest.raises(ValidationError, match="Extra inputs"):
            made(kind, aspect_ratio="16:9")


@pytest.mark.parametrize(
    ("resolution", "ratio", "size"),
    [
        ("768P", "16:9", (1344, 768)),
        ("768P", "21:9", (1536, 672)),
        ("768P", "1:1", (768, 768)),
        ("768P", "3:4", (768, 1024)),
        ("480P", "9:16", (480, 832)),
        ("2K", "16:9", (2560, 1440)),
    ],
)
def test_a_shape_has_its_size(resolution: str, ratio: str, size: tuple[int, int]) -> None:
    """As far as files were seen."""
    picture = made(H3TextToVideo, resolution=resolution, aspect_ratio=ratio).picture
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize("kind", IMAGE)
def test_a_video_of_pictures_wants_one(kind: type[VideoInput]) -> None:
    """Without, fal makes a video of the text alone, at the full price. The last may stand alone."""
    with pytest.raises(ValidationError, match="there is no picture"):
        kind.model_validate({"prompt": "A fox."})
    assert kind.model_validate({"prompt": "A fox.", "end_image_url": f"{URL}end.png"})


@pytest.mark.parametrize("kind", REFERENCE)
def test_references_are_counted(kind: type[VideoInput]) -> None:
    """9 images, 3 videos, 3 sounds, 12 together, and one at least."""
    names = ("reference_image_urls", "reference_video_urls", "reference_audio_urls")
    for name, most in zip(names, (9, 3, 3), strict=True):
        with pytest.raises(ValidationError, match="at most"):
            made(kind, **{name: images(most + 1)})
    many = {names[0]: images(9), names[1]: images(3)}
    assert made(kind, **many)
    with pytest.raises(ValidationError, match="there are 13 references"):
        made(kind, **many, **{names[2]: images(1)})
    with pytest.raises(ValidationError, match="there is no reference"):
        made(kind, reference_image_urls=[])


def test_sound_alone_is_a_reference_for_max_only() -> None:
    """fal refuses it for base H3."""
    alone: dict[str, Any] = {"reference_image_urls": None, "reference_audio_urls": [f"{URL}a.mp3"]}
    assert made(H3MaxReferenceToVideo, **alone)
    with pytest.raises(ValidationError, match="sound is the only reference"):
        made(H3ReferenceToVideo, **alone)


def test_a_middle_picture_needs_both_others() -> None:
    """And 480P or 768P; its time needs the picture."""
    ends = {"image_url": f"{URL}a.png", "end_image_url": f"{URL}b.png"}
    middle = {**ends, "middle_image_url": f"{URL}m.png"}
    assert made(H3MaxReferenceToVideo, **middle, middle_frame_time=2.5)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("no middle_image_url", {**ends, "middle_frame_time": 1}),
        ("needs image_url and end_image_url", {"middle_image_url": f"{URL}m.png"}),
        ("480P or 768P", {**middle, "resolution": "1080P"}),
        ("greater than 0", {**middle, "middle_frame_time": 0}),
        ("less than 15", {**middle, "middle_frame_time": 15}),
    ]
    for said, fields in wrong:
        with pytest.raises(ValidationError, match=said):
            made(H3MaxReferenceToVideo, **fields)


def test_two_seeds_are_two_videos_and_two_takes_are_two_tries() -> None:
    """Both are in the key; what a picture is called is not."""
    one, other = made(H3TextToVideo, seed=1), made(H3TextToVideo, seed=2)
    keys = [
        generation_key(each, realm="fal", take=take) for each in (one, other) for take in (0, 1)
    ]
    assert len(set(keys)) == 4
    listed = [f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"]
    first = generation_key(made(H3ReferenceToVideo, reference_image_urls=listed), realm="fal")
    swapped = made(H3ReferenceToVideo, reference_image_urls=listed[::-1])
    assert first != generation_key(swapped, realm="fal")  # "Image 1" is another


@pytest.mark.parametrize(
    ("kind", "fields", "usd"),
    [
        (H3TextToVideo, {}, "0.65"),
        (H3TextToVideo, {"resolution": "768P"}, "0.30"),
        (H3TextToVideo, {"resolution": "4K", "duration": 15}, "2.40"),
        (H3MaxTextToVideo, {}, "0.40"),
        (H3MaxTurboTextToVideo, {}, "0.20"),
        (H3MaxTurboTextToVideo, {"resolution": "1080P", "duration": 15}, "1.20"),
        (H3ReferenceToVideo, {"resolution": "480P", "reference_image_urls": images(5)}, "0.25"),
        (H3ReferenceToVideo, {"resolution": "480P", "reference_image_urls": images(7)}, "0.41"),
        (H3MaxReferenceToVideo, {"reference_image_urls": images(4)}, "0.40"),
        (H3MaxReferenceToVideo, {"reference_image_urls": images(5)}, "0.42048"),
        (H3MaxReferenceToVideo, {"reference_video_urls": images(1)}, None),
        (H3ReferenceToVideo, {"reference_video_urls": images(1)}, None),
    ],
)
def test_the_price_is_the_lists(
    kind: type[VideoInput], fields: dict[str, Any], usd: str | None
) -> None:
    """Seconds by resolution, and what references cost; not known where a video is one."""
    shot = made(kind, **fields)
    assert shot.price_usd == (usd and Decimal(usd))
    assert shot.request().price_usd == shot.price_usd
    assert shot.endpoint.price_usd(shot.body()) == shot.price_usd


def test_an_estimate_counts_references(ledger_url: str) -> None:
    """And says what it does not know."""
    shots = [
        made(H3ReferenceToVideo, reference_image_urls=images(0) or [f"sha256:{n:064x}"], duration=n)
        for n in (5, 15)
    ]
    unknown = made(H3ReferenceToVideo, reference_video_urls=[f"sha256:{9:064x}"])
    told = estimate([*shots, unknown])
    assert [line.cost_usd for line in told.lines] == [Decimal("0.65"), Decimal("1.95"), None]
    assert told.unpriced == 1


def test_a_quote_is_by_the_second() -> None:
    """Any length that there is."""
    assert quote("h3-max", {"duration": 15, "resolution": "480P"}).price_usd == Decimal("0.75")
    with pytest.raises(Exception, match=r"no duration 4.*resolution 2K, duration 5 to 15"):
        quote("h3", {"duration": 4})


def test_camera_commands_are_checked_for_02_and_23_alone() -> None:
    """MiniMax documents them for these."""
    prompt = "[Pan lef] A fox."
    warned = {
        each.endpoint.name
        for each in CATALOGUE.values()
        if each.endpoint.category == "text-to-video"
        and each.model_validate({"prompt": prompt}).request().cautions
    }
    assert warned == {
        *("hailuo-2.3-pro", "hailuo-2.3-standard", "hailuo-02-pro", "hailuo-02-standard")
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [("duration", "5"), ("seed", 0.5), ("enable_safety_checker", "false"), ("resolution", "480p")],
)
def test_the_emulator_is_as_exact_as_fal(field: str, value: Any) -> None:
    """A text is no number and no boolean, and case matters."""
    refused = validate(H3MaxTextToVideo, {"prompt": "A fox.", field: value})
    assert (refused.status, refused.body["detail"][0]["loc"][:2]) == (422, ["body", field])
    assert validate(H3MaxTextToVideo, {"prompt": "A fox.", "duration": 5, "seed": -1}).is_video
