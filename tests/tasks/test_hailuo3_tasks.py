"""Hailuo 3 from a task, a batch, a command and a flow, on the emulator."""

from __future__ import annotations

import asyncio
import json
import pickle
import wave
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from commands import run
from picture_ground import noisy_picture, plain_picture
from prefect.utilities.callables import parameter_schema

from flows.text_to_video import main, text_to_video
from prefect_hailuo import (
    Budget,
    H3MaxImageToVideo,
    H3MaxReferenceToVideo,
    H3MaxTextToVideo,
    H3MaxTurboTextToVideo,
    H3ReferenceToVideo,
    HailuoVideoJob,
    Video,
    generate_video,
    generate_videos,
    h3_max_reference_to_video,
    join_videos,
)
from prefect_hailuo.emulator import EMULATOR_KEY, FalEmulator, drop_after_accepting
from prefect_hailuo.emulator.clip import render
from prefect_hailuo.errors import HailuoError, ImageError
from prefect_hailuo.flows.batch import batch
from prefect_hailuo.flows.sheet import Entry, as_csv
from prefect_hailuo.models.image import data_uri
from prefect_hailuo.runs.cards import card
from prefect_hailuo.runs.estimate import quote

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def plain(tmp_path: Path) -> Any:
    """An emulator whose clips are drawn once."""
    with FalEmulator(speed=1000, clip="plain") as emulator:
        yield emulator


def mine(emulator: FalEmulator, tmp_path: Path) -> dict[str, Any]:
    """Who pays, and where it goes."""
    return {"credentials": emulator.credentials(), "storage": tmp_path / "videos"}


def a_sound(seconds: int = 3) -> bytes:
    """A WAV file, of silence."""
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000 * seconds))
    return buffer.getvalue()


def test_what_fal_tells_is_kept_beside_the_file(plain: FalEmulator, tmp_path: Path) -> None:
    """In the video, its record, its card and the CSV; an older pickle and record still load."""
    video = h3_max_reference_to_video(
        "A fox.", reference_image_urls=[plain_picture()], resolution="480P", **mine(plain, tmp_path)
    )
    assert video.output["seed"] > 2**30
    assert video.output["expanded_prompt"] == "A fox. (expanded by the emulator)"
    assert video.output["timings"]["inference"] > 0
    assert (video.audio_codec, video.has_manifest, video.notes) == ("aac", True, ())
    assert video.path
    record = video.path.with_suffix(".json").read_bytes()
    assert Video.model_validate_json(record) == video
    assert pickle.loads(pickle.dumps(video)) == video  # noqa: S301 (our own)
    assert str(video.output["seed"]) in card(video)
    shot = H3MaxReferenceToVideo(prompt="A fox.", reference_image_urls=[plain_picture()])
    told = as_csv([Entry(1, shot, "0", "f0", video=video)]).decode("utf-8-sig")
    assert "output.seed" in told and str(video.output["seed"]) in told
    older = {
        name: each
        for name, each in json.loads(record).items()
        if name not in ("output", "notes", "has_manifest", "audio_codec")
    }
    assert Video.model_validate(older).output == {}


def test_media_are_keyed_by_content_and_bought_once(plain: FalEmulator, tmp_path: Path) -> None:
    """A list of pictures and sounds: by path or as bytes, it is the same video."""
    picture, sound = plain_picture(), a_sound()
    paths = [tmp_path / "fox.png", tmp_path / "fox.wav"]
    for path, content in zip(paths, (picture, sound), strict=True):
        path.write_bytes(content)
    shots = [
        H3ReferenceToVideo(
            prompt="A fox.",
            resolution="480P",
            reference_image_urls=[image],
            reference_audio_urls=[audio],
        )
        for image, audio in ((paths[0], paths[1]), (picture, sound))
    ]
    one, other = (generate_video(each, **mine(plain, tmp_path)) for each in shots)
    assert one.key == other.key and plain.charged_usd == Decimal("0.25")
    assert one.input and all(
        each.startswith("sha256:")
        for name in ("reference_image_urls", "reference_audio_urls")
        for each in one.input[name]
    )
    [sent] = plain.submissions
    assert sent.body["reference_audio_urls"][0].startswith(plain.url)  # too large for the body
    assert sent.body["reference_image_urls"][0].startswith("data:image/png")


def test_a_lost_answer_is_found_by_its_references(plain: FalEmulator, tmp_path: Path) -> None:
    """fal's history shows uploads by other addresses; the request is found by their content."""
    plain.faults.add(drop_after_accepting("submit"))
    shot = H3ReferenceToVideo(
        prompt="A fox.",
        resolution="480P",
        seed=2**40,
        reference_image_urls=[noisy_picture(), plain_picture()],
    )
    video = generate_video(shot, **mine(plain, tmp_path))
    assert (plain.charged, video.price_usd) == (1, Decimal("0.25"))


def test_what_reference_videos_cost_is_not_guessed(plain: FalEmulator, tmp_path: Path) -> None:
    """A budget refuses it; without a limit, it is bought, and its price is not known."""
    clip = render(H3MaxTextToVideo.endpoint, "A guide.")
    guide = saved(tmp_path, clip)
    shot = H3ReferenceToVideo(prompt="A fox.", resolution="480P", reference_video_urls=[guide])
    with pytest.raises(HailuoError, match="price"):
        budget = Budget(scope="tight", total_usd=Decimal(50))
        generate_video(shot, budget=budget, **mine(plain, tmp_path))
    assert plain.charged == 0
    assert generate_video(shot, **mine(plain, tmp_path)).price_usd is None


def saved(folder: Path, content: bytes) -> str:
    """The path of a video of these bytes."""
    path = folder / "guide.mp4"
    path.write_bytes(content)
    return str(path)


def test_a_file_of_another_kind_is_refused_before_money(plain: FalEmulator, tmp_path: Path) -> None:
    """A picture is no sound, and a sound track of pictures is none."""
    wrong = tmp_path / "fox.mp3"
    wrong.write_bytes(plain_picture())
    shot = H3MaxTextToVideo(prompt="A fox.", target_audio_url=str(wrong))
    with pytest.raises(ImageError, match="no sound in a format of WAV, MP3; nothing was bought"):
        generate_video(shot, **mine(plain, tmp_path))
    assert plain.charged == 0


def test_fals_price_of_today_is_that_of_480p(plain: FalEmulator) -> None:
    """Dearer seconds are billed as more units of it."""
    told = quote("h3-max", {"resolution": "1080P"}, credentials=plain.credentials(), live=True)
    assert (told.price_usd, told.source) == (Decimal("0.80"), "fal's pricing API")
    assert told.notes == ()


def test_two_seeds_are_two_purchases(plain: FalEmulator, tmp_path: Path) -> None:
    """And two takes are, too; an equal request is one."""
    shots = [H3MaxTurboTextToVideo(prompt="A fox.", seed=n, resolution="480P") for n in (1, 2, 1)]
    made = generate_videos([*shots, (shots[0], 1)], **mine(plain, tmp_path))
    assert len({each.key for each in made.videos}) == 3
    assert plain.charged == 3


def test_a_batch_takes_lists_in_cells(plain: FalEmulator, tmp_path: Path) -> None:
    """Parted by semicolons, or as JSON; paths are meant from where the rows are."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(plain_picture(shade=len(name) + ord(name[0])))
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "prompt,model,resolution,duration,seed,reference_image_urls\n"
        "A fox.,h3-reference,480P,6,7,a.png; b.png\n"
        'An owl.,h3-max-reference,480P,,,"[""a.png""]"\n'
        "A hare.,h3-max-turbo,480P,,,\n"
    )
    options: dict[str, Any] = {"storage": str(tmp_path / "videos")}
    making = batch(prompts_file=str(rows), credentials=plain.credentials(), **options)
    summary = asyncio.run(making)
    assert summary.videos == 3
    bodies = {each.endpoint: each.body for each in plain.submissions}
    assert len(bodies["minimax/h3/reference-to-video"]["reference_image_urls"]) == 2
    assert len(bodies["minimax/h3-max/reference-to-video"]["reference_image_urls"]) == 1
    fox = bodies["minimax/h3/reference-to-video"]
    assert (fox["duration"], fox["seed"]) == (6, 7)


def test_the_flow_and_its_command_take_the_settings(
    plain: FalEmulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a form does; a prompt that may not be rewritten has its expansion disabled."""
    video = text_to_video(
        "A fox.",
        "h3-max",
        False,
        duration=7,
        resolution="480P",
        aspect_ratio="9:16",
        seed=3,
        credentials=plain.credentials(),
        storage=str(tmp_path),
    )
    assert (
        video.input
        == H3MaxTextToVideo(
            prompt="A fox.",
            duration=7,
            resolution="480P",
            aspect_ratio="9:16",
            seed=3,
            prompt_expansion_mode="disabled",
        ).body()
    )
    assert (video.width, video.height, video.output["expanded_prompt"]) == (480, 832, None)
    said = ["--model", "h3-max-turbo", "--duration", "5", "--resolution", "480P", "--json"]
    assert main(["An owl.", *said, "--output", str(tmp_path), "--emulator", plain.url]) == 0
    assert json.loads(capsys.readouterr().out)["endpoint"] == "minimax/h3-max-turbo/text-to-video"


def test_a_form_offers_it(plain: FalEmulator, tmp_path: Path) -> None:
    """Its models, its settings with their limits; a job block takes its input."""
    form = parameter_schema(text_to_video).properties
    assert {"h3", "h3-max", "h3-max-turbo"} <= {*form["model"]["enum"]}
    assert {"duration", "resolution", "aspect_ratio", "seed"} <= form.keys()
    lengths = next(each for each in form["duration"]["anyOf"] if each["type"] == "integer")
    assert (lengths["minimum"], lengths["maximum"]) == (5, 15)
    shown = [data_uri(plain_picture(), "image/png")]
    asked = {"prompt": "A fox.", "resolution": "480P", "reference_image_urls": shown}
    mine = {"credentials": plain.credentials(), "storage": str(tmp_path)}
    job = HailuoVideoJob.model_validate({"endpoint": "h3-max-reference", "input": asked, **mine})
    going = job.trigger()
    going.wait_for_completion()
    assert going.fetch_result().audio_codec == "aac"


def test_the_command_lists_it() -> None:
    """A line for each resolution, by the second; an estimate is of any length."""
    listed = {each["name"]: each for each in json.loads(run("models", "--json").out)}
    assert len(listed["h3"]["variants"]) == 4
    assert listed["h3"]["variants"][0]["lengths"] == list(range(5, 16))
    settings = ("--duration", 15, "--resolution", "1080P")
    assert "$1.20" in run("estimate", "h3-max-turbo", *settings).out


def test_a_picture_begins_it_and_a_clip_keeps_its_sound(plain: FalEmulator, tmp_path: Path) -> None:
    """And says that it carries no manifest."""
    options = mine(plain, tmp_path)
    shot = H3MaxImageToVideo(prompt="It turns.", image_url=plain_picture(), resolution="480P")
    video = generate_video(shot, **options)
    clip = join_videos([video, video], storage=tmp_path / "clips")
    assert (clip.audio_codec, clip.has_manifest, video.has_manifest) == ("aac", False, True)


async def test_the_emulator_answers_as_fal(plain: FalEmulator) -> None:
    """Under the alias without a key, with fal's words for what it has not, and units of 480P."""
    async with httpx.AsyncClient(base_url=plain.url) as http:
        refused = await http.post("/minimax/h3-max/text-to-video", json={"prompt": "A fox."})
        assert refused.status_code == 401
        assert refused.json()["detail"] == ('Cannot access application "fal-ai/minimax-h3-turbo"')
        key = {"Authorization": f"Key {EMULATOR_KEY}"}
        gone = await http.post("/minimax/h3-max/director", json={}, headers=key)
        assert (gone.status_code, gone.json()) == (
            404,
            {"detail": 'Application "h3-max" not found'},
        )
        body = {"prompt": "A fox.", "resolution": "768P"}
        made = await http.post("/run/minimax/h3-max/text-to-video", json=body, headers=key)
        assert float(made.headers["x-fal-billable-units"]) == 8
        ticket = (
            await http.post("/minimax/h3-max-turbo/text-to-video", json=body, headers=key)
        ).json()
        assert "/minimax/h3-max-turbo/requests/" in ticket["status_url"]
