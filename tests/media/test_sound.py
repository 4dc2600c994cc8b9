"""The sound of videos, and of clips that are made of them."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import pytest
from test_joining import BLUE, RED, shot

from prefect_hailuo import H3TextToVideo
from prefect_hailuo.emulator.clip import render
from prefect_hailuo.media.coding import join_files, place_side_by_side
from prefect_hailuo.media.expectation import notes_on
from prefect_hailuo.media.mp4 import Probe, examine_mp4, has_manifest
from prefect_hailuo.media.probe import probe

HERTZ = 32_000


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of Hailuo 3, as the emulator makes it: 5.17 s at 24 fps, with sound."""
    path = tmp_path_factory.mktemp("sounding") / "sounding.mp4"
    shot = H3TextToVideo(prompt="A fox.", resolution="480P")
    path.write_bytes(render(shot.endpoint, "A fox.", shot.picture))
    return path


def loudness(path: Path) -> list[bool]:
    """For each tenth of a second, whether anything is heard."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", HERTZ)
        heard = bytearray()
        for frame in container.decode(audio=0):
            for each in resampler.resample(frame):
                heard += bytes(each.planes[0])[: each.samples * 2]
    samples = memoryview(bytes(heard)).cast("h")
    step = HERTZ // 10
    tenths = [samples[at : at + step] for at in range(0, len(samples) - step, step)]
    return [max(map(abs, each)) > 100 for each in tenths]


def sound_packets(path: Path) -> list[bytes]:
    """A video's coded sound."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_sound_of_one_form_is_copied(sounding: Path, tmp_path: Path) -> None:
    """And stays with its pictures, however many are joined: what outlasts a picture is left out."""
    joined = tmp_path / "joined.mp4"
    assert join_files([sounding] * 3, joined) is None
    measured = probe(joined)
    assert measured.duration_seconds == pytest.approx(3 * 124 / 24, abs=0.05)
    assert (measured.audio_codec, measured.audio_hz) == ("aac", HERTZ)
    assert {*sound_packets(joined)} <= {*sound_packets(sounding)}
    with av.open(str(joined)) as container:
        begins = [p.pts for p in container.demux(audio=0) if p.size and p.pts is not None]
    assert begins == sorted(begins)
    second = Fraction(124, 24) * HERTZ
    assert min(abs(each - second) for each in begins) < 1024
    assert all(loudness(joined)[2:-2])


def test_a_video_without_sound_is_silent_in_a_clip(sounding: Path, tmp_path: Path) -> None:
    """The others are heard at their own time."""
    silent = shot(tmp_path / "silent.mp4", RED, size=(832, 480), frames=48)
    joined = tmp_path / "joined.mp4"
    assert join_files([silent, sounding, silent], joined) is not None
    heard = loudness(joined)
    assert not any(heard[:18]) and all(heard[22:68]) and not any(heard[74:])
    assert probe(joined).duration_seconds == pytest.approx(4 + 124 / 24, abs=0.05)


def test_videos_without_sound_make_a_clip_without(tmp_path: Path) -> None:
    """No empty track is added."""
    parts = [shot(tmp_path / f"{n}.mp4", each) for n, each in enumerate((RED, BLUE))]
    join_files(parts, tmp_path / "joined.mp4")
    assert probe(tmp_path / "joined.mp4").audio_codec is None


def test_side_by_side_all_are_heard(sounding: Path, tmp_path: Path) -> None:
    """The track is as long as the clip, silent at its end where the longest has no sound."""
    silent = shot(tmp_path / "silent.mp4", RED, frames=168)
    both = tmp_path / "both.mp4"
    place_side_by_side([silent, sounding], ["left", "right"], both)
    heard = loudness(both)
    assert all(heard[2:48]) and not any(heard[54:])
    assert probe(both).duration_seconds == pytest.approx(7, abs=0.05)


def test_a_file_tells_its_sound_and_its_manifest(sounding: Path, tmp_path: Path) -> None:
    """The boxes say what PyAV reads; a clip that is made of it carries the manifest no more."""
    content = sounding.read_bytes()
    assert content[4:8] == b"ftyp" and content[int.from_bytes(content[:4], "big") + 4 :][:4] == (
        b"uuid"
    )
    assert examine_mp4(BytesIO(content)) == probe(sounding)
    assert has_manifest(BytesIO(content))
    join_files([sounding], tmp_path / "alone.mp4")
    assert not has_manifest((tmp_path / "alone.mp4").open("rb"))


GOOD = Probe(832, 480, 5.184, 24.0, "h264", "aac", 2, HERTZ, 124)


@pytest.mark.parametrize(
    ("probed", "said"),
    [
        (GOOD, ""),
        (Probe(832, 480, 4.9, 24.0, "h264", "aac", 2, HERTZ), "lasts 4.9 s"),
        (Probe(832, 480, 5.81, 24.0, "h264", "aac", 2, HERTZ), "lasts 5.81 s"),
        (Probe(832, 480, 5.125, 24.0, "h264", "aac", 2, HERTZ, 123), "123 frames"),
        (Probe(832, 480, 5.184, 25.0, "h264", "aac", 2, HERTZ), "25 frames a second"),
        (Probe(832, 480, 5.184, 24.0, "h264"), "no sound track"),
        (Probe(832, 480, 5.184, 24.0, "h264", "aac", 1, 44_100), "1 channels, 44100 Hz"),
        (Probe(480, 832, 5.184, 24.0, "h264", "aac", 2, HERTZ), "480×832"),
        (Probe(1344, 768, 5.184, 24.0, "h264", "aac", 2, HERTZ), "1344×768"),
    ],
)
def test_what_is_not_as_asked_is_noted(probed: Probe, said: str) -> None:
    """The length within the model's tolerance, the shape, the rate and the sound."""
    asked = H3TextToVideo(prompt="A fox.", resolution="480P").picture
    notes = "; ".join(notes_on(probed, asked))
    assert said in notes if said else not notes
