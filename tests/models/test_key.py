"""What makes two requests the same generation, and what a video's file is called."""

from __future__ import annotations

import os
import string
import subprocess
import sys
import unicodedata
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_hailuo.models.catalogue import (
    Hailuo02ProTextToVideo,
    Hailuo23ProTextToVideo,
    VideoInput,
)
from prefect_hailuo.models.inputs import OptimizedInput
from prefect_hailuo.models.key import canonical_take, file_stem, generation_key
from prefect_hailuo.ticket import Realm

FOX = "A red fox crosses a snowy field."

GOLDEN: list[tuple[type[VideoInput], Realm, str]] = [
    (
        Hailuo23ProTextToVideo,
        "fal",
        "76bfe21899e6003d7f682d20b78a9b4eef38f84204068e3d45d0cabf625aee8f",
    ),
    (
        Hailuo23ProTextToVideo,
        "emulator",
        "3137dcdc7d6b8f4637b5efb5f0149761951ee6fb205874968eca12a311a8de75",
    ),
    (
        Hailuo02ProTextToVideo,
        "fal",
        "26c6a0d4b37e1e0278ca004836cd6652b48ae39d1c6cd2b203c6718121fe86f8",
    ),
    (
        Hailuo02ProTextToVideo,
        "emulator",
        "a3c87498e834bfa94f3fadb014082a1fab83d3ecc22ed728986368467bc1dfd9",
    ),
]

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)

PROMPTS = st.text(min_size=1, max_size=60).filter(lambda text: bool(text.strip()))
TAKES = st.integers() | st.text(alphabet=string.printable, max_size=12)
INPUTS = st.builds(
    lambda kind, prompt, optimizer: kind(prompt=prompt, prompt_optimizer=optimizer),
    st.sampled_from([Hailuo23ProTextToVideo, Hailuo02ProTextToVideo]),
    PROMPTS,
    st.booleans(),
)


@pytest.mark.parametrize(("kind", "realm", "key"), GOLDEN)
def test_keys_are_frozen(kind: type[VideoInput], realm: Realm, key: str) -> None:
    """A key once given is the key for ever: a stored video is still found by it in ten years."""
    assert generation_key(kind(prompt=FOX), realm=realm) == key


def test_the_key_of_a_designed_shot_is_frozen() -> None:
    """The same with accents, quotes, line ends, pictographs, a setting and a take."""
    prompt = 'Café \N{FOX FACE} "at" night\n'
    key = generation_key(
        Hailuo23ProTextToVideo(prompt=prompt, prompt_optimizer=False),
        realm="fal",
        take="2026-08-01",
    )
    assert key == "563bb69536870064f0f64ebc83c0274d7a1610ff2d2080e34c06ba0d19f245ee"


def test_keys_are_the_same_in_every_process() -> None:
    """Python hashes strings differently in each process; keys do not change with that."""
    code = (
        "from prefect_hailuo.models.catalogue import Hailuo23ProTextToVideo as Input\n"
        "from prefect_hailuo.models.key import generation_key\n"
        f"print(generation_key(Input(prompt={FOX!r}), realm='fal'))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=env)
    assert done.stdout.decode().strip() == GOLDEN[0][2]


def test_what_makes_another_video_makes_another_key() -> None:
    """Realm, endpoint, prompt, setting and take each tell two generations apart."""
    fox = Hailuo23ProTextToVideo(prompt=FOX)
    keys = {
        generation_key(fox, realm="fal"),
        generation_key(fox, realm="emulator"),
        generation_key(Hailuo02ProTextToVideo(prompt=FOX), realm="fal"),
        generation_key(Hailuo23ProTextToVideo(prompt=FOX + " "), realm="fal"),
        generation_key(Hailuo23ProTextToVideo(prompt=FOX, prompt_optimizer=False), realm="fal"),
        generation_key(fox, realm="fal", take=1),
        generation_key(fox, realm="fal", take="2026-08-01"),
    }
    assert len(keys) == 7


def test_what_is_left_out_is_what_is_said() -> None:
    """A setting at its default is the same request as none at all."""
    said = Hailuo23ProTextToVideo(prompt=FOX, prompt_optimizer=True)
    unsaid = Hailuo23ProTextToVideo(prompt=FOX)
    assert generation_key(said, realm="fal", take=0) == generation_key(unsaid, realm="fal")


def test_nothing_else_can_go_into_a_key() -> None:
    """Neither credentials nor storage are asked for, so that neither can change the key."""
    names = generation_key.__annotations__.keys() - {"return"}
    assert names == {"input", "realm", "take"}


def test_accents_written_either_way_are_the_same_prompt() -> None:
    """Composed and decomposed characters look the same, and so are: macOS writes the latter."""
    composed, decomposed = "Caf\u00e9", "Cafe\u0301"
    assert composed != decomposed
    keys = {
        generation_key(Hailuo23ProTextToVideo(prompt=prompt), realm="fal", take=prompt)
        for prompt in (composed, decomposed)
    }
    assert len(keys) == 1


def test_a_take_is_a_number_or_a_text() -> None:
    """1 and "1" are the same take, wherever it comes from; what has no one spelling is refused."""
    assert canonical_take(1) == canonical_take("1") == canonical_take(" 1\n") == "1"
    for wrong in (True, 1.0, None, b"1"):
        with pytest.raises(TypeError, match=r"take must be an int or a str, not .*; pass str\("):
            canonical_take(wrong)  # type: ignore[arg-type]


def test_a_field_added_later_changes_no_key_at_its_default() -> None:
    """A new release may add a field: what was bought before it existed is still found."""

    class Later(OptimizedInput):
        # No `endpoint` of its own in the class's body, so that it stays out of the catalogue.
        later_fields: ClassVar[frozenset[str]] = frozenset({"seed"})
        seed: int | None = None

    Later.endpoint = Hailuo23ProTextToVideo.endpoint
    before = generation_key(Hailuo23ProTextToVideo(prompt=FOX), realm="fal")
    assert generation_key(Later(prompt=FOX), realm="fal") == before
    assert generation_key(Later(prompt=FOX, seed=None), realm="fal") == before
    assert generation_key(Later(prompt=FOX, seed=7), realm="fal") != before


@unhurried
@given(one=INPUTS, other=INPUTS, take=TAKES, other_take=TAKES)
def test_keys_are_equal_just_when_the_generations_are(
    one: VideoInput, other: VideoInput, take: int | str, other_take: int | str
) -> None:
    """No two generations share a key, and none has two."""
    same = _meaning(one, take) == _meaning(other, other_take)
    keys = [generation_key(one, realm="fal", take=take)]
    keys.append(generation_key(other, realm="fal", take=other_take))
    assert (keys[0] == keys[1]) == same
    assert generation_key(one.model_copy(), realm="fal", take=str(take)) == keys[0]


def _meaning(video: VideoInput, take: int | str) -> tuple[object, ...]:
    prompt = unicodedata.normalize("NFC", video.prompt)
    return type(video), prompt, getattr(video, "prompt_optimizer", None), str(take).strip()


KEYS = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)


@unhurried
@given(prompt=PROMPTS, key=KEYS)
def test_a_file_name_is_safe_everywhere(prompt: str, key: str) -> None:
    """No prompt makes a name that a file system, a shell or a URL could stumble over."""
    stem = file_stem(prompt, key)
    assert set(stem) <= set(string.ascii_lowercase + string.digits + "-")
    assert stem.endswith(key[:16])
    assert not stem.startswith("-")
    assert len(stem) <= 57


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [
        ("A red fox, at night!", "a-red-fox-at-night-"),
        ("Füchse & Bären", "fuchse-baren-"),
        ("../../etc/passwd", "etc-passwd-"),
        ("CON", "con-"),
        ("狐", "hu-"),
        ("\N{FOX FACE}", ""),
        ("a" * 2000, "a" * 40 + "-"),
        ("A camera follows a very determined snowboarder", "a-camera-follows-a-very-determined-"),
    ],
)
def test_a_file_name_tells_what_is_in_it(prompt: str, stem: str) -> None:
    """The prompt's first words, whole where they can be, and then the beginning of the key."""
    assert file_stem(prompt, "0123456789abcdef" * 4) == f"{stem}0123456789abcdef"


def test_prompts_alike_have_files_of_their_own() -> None:
    """Two prompts that begin alike do not overwrite each other's video."""
    keys = [generation_key(Hailuo23ProTextToVideo(prompt=FOX), realm="fal", take=n) for n in (0, 1)]
    assert file_stem(FOX, keys[0]) != file_stem(FOX, keys[1])
