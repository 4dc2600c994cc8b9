"""The tasks, in flows, on a real Prefect server."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import Task, flow, unmapped
from prefect.client.schemas.objects import State
from prefect.filesystems import LocalFileSystem
from pydantic import ValidationError

import prefect_hailuo
from prefect_hailuo import (
    FalCredentials,
    Hailuo23ProTextToVideo,
    Video,
    agenerate_video,
    ahailuo_02_pro_text_to_video,
    generate_video,
    hailuo_02_pro_text_to_video,
    hailuo_23_pro_text_to_video,
)
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.errors import ConfigurationError, MissingKeyError
from prefect_hailuo.models.catalogue import CATALOGUE

pytestmark = pytest.mark.usefixtures("prefect_server")

STUBS = [
    (task, getattr(prefect_hailuo, f"a{name}"), input_class)
    for name in prefect_hailuo.__all__
    if not name.startswith("a")
    and isinstance(task := getattr(prefect_hailuo, name), Task)
    and (input_class := getattr(task.cache_policy, "input_class", None))
]
TEXT_STUBS = [stub for stub in STUBS if stub[2].endpoint.category == "text-to-video"]


@pytest.mark.parametrize(("task", "twin", "input_class"), STUBS)
def test_a_stub_takes_exactly_its_inputs_fields(task: Any, twin: Any, input_class: Any) -> None:
    """A model's task has its input's fields, types and defaults, then generate_video's options."""
    options = list(inspect.signature(generate_video.fn).parameters.values())[1:]
    for function in (task.fn, twin.fn):
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
        fields = parameters[: -len(options)]
        assert {p.name for p in fields} == input_class.model_fields.keys()
        for parameter in fields:
            field = input_class.model_fields[parameter.name]
            assert _bare(parameter.annotation) == field.annotation
            required = parameter.default is inspect.Parameter.empty
            assert required == field.is_required()
            assert required or parameter.default == field.default
        named = list(inspect.signature(function).parameters.values())
        assert [str(p) for p in named[-len(options) :]] == [str(p) for p in options]
        for variant in input_class.endpoint.variants:
            usd = variant.price.usd if variant.lengths else variant.price_usd
            assert f"${usd}" in (task.fn.__doc__ or "")


def _bare(annotation: Any) -> Any:
    """A type without what pydantic alone reads of it."""
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def test_every_endpoint_has_its_stub() -> None:
    """Whatever the catalogue has, a task of its own makes."""
    assert {kind for _, _, kind in STUBS} == set(CATALOGUE.values())


def test_every_task_has_its_twin() -> None:
    """Every synchronous task of the package has an asynchronous one with the same parameters."""
    tasks = {n: t for n in prefect_hailuo.__all__ if hasattr(t := getattr(prefect_hailuo, n), "fn")}
    for name in [n for n, t in tasks.items() if not t.isasync]:
        twin = tasks[f"a{name}"]
        assert inspect.signature(twin.fn).parameters == inspect.signature(tasks[name].fn).parameters


@pytest.mark.parametrize(("task", "_twin", "input_class"), TEXT_STUBS)
def test_buys_a_video_that_is_there(
    task: Any, _twin: Any, input_class: Any, credentials: FalCredentials, tmp_path: Path
) -> None:
    """One line in a synchronous flow ends with a verified file and its provenance."""

    fixed = input_class.rewriting(False)
    call = partial(task, "A red fox.", **fixed, credentials=credentials, storage=tmp_path)
    video = in_a_flow(call)
    assert video.path is not None
    assert video.path.stat().st_size == video.size
    picture = input_class.endpoint.default.picture
    assert (video.width, video.height) == (picture.width, picture.height)
    seconds = picture.frame_count / picture.frames_per_second
    assert video.duration_seconds == pytest.approx(seconds, abs=0.05)
    assert video.endpoint == input_class.endpoint.id
    asked = input_class(prompt="A red fox.", **fixed)
    assert (video.input, video.price_usd) == (asked.body(), asked.price_usd)
    record = video.path.with_suffix(".json").read_bytes()
    assert Video.model_validate_json(record) == video


@pytest.mark.parametrize(("_task", "twin", "input_class"), TEXT_STUBS)
def test_buys_from_an_asynchronous_flow(
    _task: Any, twin: Any, input_class: Any, credentials: FalCredentials, tmp_path: Path
) -> None:
    """The twins run side by side under `gather`."""

    @flow
    async def clips() -> list[Video]:
        prompts = [f"Shot {number}." for number in range(4)]
        calls = [twin(p, credentials=credentials, storage=tmp_path) for p in prompts]
        return list(await asyncio.gather(*calls))

    videos = asyncio.run(clips())
    assert [v.prompt for v in videos] == ["Shot 0.", "Shot 1.", "Shot 2.", "Shot 3."]
    assert {v.endpoint for v in videos} == {input_class.endpoint.id}


def test_submits_and_maps(credentials: FalCredentials, tmp_path: Path) -> None:
    """`.submit()` and `.map()` work, with what does not vary marked as unmapped."""

    @flow
    def clips() -> list[Video]:
        options: dict[str, Any] = {"credentials": unmapped(credentials), "storage": tmp_path}
        futures = hailuo_02_pro_text_to_video.map(["One.", "Two.", "Three."], **options)
        fox = Hailuo23ProTextToVideo(prompt="A red fox.")
        one = generate_video.submit(fox, credentials=credentials, storage=tmp_path)
        return [*futures.result(), one.result()]

    assert [v.prompt for v in clips()] == ["One.", "Two.", "Three.", "A red fox."]


def test_submits_and_maps_asynchronous_tasks(credentials: FalCredentials, tmp_path: Path) -> None:
    """The twins too, although each then runs on an event loop of its own."""

    @flow
    def clips() -> list[Video]:
        options: dict[str, Any] = {"credentials": unmapped(credentials), "storage": tmp_path}
        return list(ahailuo_02_pro_text_to_video.map(["One.", "Two."], **options).result())

    assert [v.prompt for v in clips()] == ["One.", "Two."]


def in_a_flow(call: Callable[[], Any]) -> Any:
    """What a call returns inside of a flow run of its own."""
    returned: list[Any] = []

    @flow
    def around() -> None:
        returned.append(call())

    around()
    return returned[0]


def fox(emulator: FalEmulator, storage: Any, **options: Any) -> State[Video]:
    """The final state of one and the same request, made in a flow run of its own."""
    task = options.pop("task", hailuo_23_pro_text_to_video)
    credentials = options.pop("credentials", emulator.credentials())
    call = partial(task, "A red fox.", credentials=credentials, storage=storage, **options)
    return in_a_flow(partial(call, return_state=True))  # type: ignore[no-any-return]


def test_the_same_request_in_a_later_run_is_cached(emulator: FalEmulator, tmp_path: Path) -> None:
    """Two runs, one purchase; Prefect shows the second as Cached, and fal is asked nothing."""
    first, asked = fox(emulator, tmp_path), emulator.requests
    second = fox(emulator, tmp_path)
    assert (first.name, second.name) == ("Completed", "Cached")
    assert first.result() == second.result()
    assert emulator.requests == asked
    assert emulator.charged == 1


def test_generate_video_and_a_stub_share_their_results(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """Whichever task made a video, the others find it; also from a coroutine."""
    fox(emulator, tmp_path)
    given = Hailuo23ProTextToVideo(prompt="A red fox.")
    options: dict[str, Any] = {"credentials": emulator.credentials(), "storage": tmp_path}
    states = [in_a_flow(lambda: generate_video(given, return_state=True, **options))]

    async def once_more() -> Any:
        twin: Any = agenerate_video
        return await twin(given, return_state=True, **options)

    states.append(asyncio.run(once_more()))
    assert [state.name for state in states] == ["Cached", "Cached"]
    assert emulator.charged == 1


def test_refreshing_the_cache_buys_nothing(emulator: FalEmulator, tmp_path: Path) -> None:
    """`refresh_cache` runs the task again, which finds the file in its place."""
    fox(emulator, tmp_path)
    refreshing = hailuo_23_pro_text_to_video.with_options(refresh_cache=True)
    assert fox(emulator, tmp_path, task=refreshing).name == "Completed"
    assert emulator.charged == 1


def test_a_new_take_buys(emulator: FalEmulator, tmp_path: Path) -> None:
    """Another take is another video; the same take in another spelling is not."""
    takes = [0, 1, "1", "2026-11-20"]
    videos = [fox(emulator, tmp_path, take=take).result() for take in takes]
    assert len({video.path for video in videos if isinstance(video, Video)}) == 3
    assert emulator.charged == 3


def test_a_video_whose_file_has_gone_is_no_hit(emulator: FalEmulator, tmp_path: Path) -> None:
    """It is fetched again from fal, which costs nothing."""
    first = fox(emulator, tmp_path).result()
    assert isinstance(first, Video)
    assert first.path is not None
    first.path.unlink()
    again = fox(emulator, tmp_path)
    assert again.name == "Completed"
    assert first.is_there()
    assert fox(emulator, tmp_path).name == "Cached"
    assert emulator.charged == 1


def test_a_cut_file_is_no_hit(emulator: FalEmulator, tmp_path: Path) -> None:
    """A file that lost its end is replaced."""
    first = fox(emulator, tmp_path).result()
    assert isinstance(first, Video)
    assert first.path is not None
    os.truncate(first.path, first.size // 2)
    assert fox(emulator, tmp_path).name == "Completed"
    assert first.is_there()


def test_another_place_is_another_result(emulator: FalEmulator, tmp_path: Path) -> None:
    """What is kept in one directory is no hit for a call that names another."""
    for place in ("here", "there"):
        assert fox(emulator, tmp_path / place).name == "Completed"
        assert fox(emulator, tmp_path / place).name == "Cached"


def test_other_credentials_share_a_result(emulator: FalEmulator, tmp_path: Path) -> None:
    """A stored video serves every account: the key is no part of the cache key."""
    fox(emulator, tmp_path)
    other = FalCredentials.for_emulator(emulator.url, "another:key")
    assert fox(emulator, tmp_path, credentials=other).name == "Cached"


def test_what_the_emulator_made_is_no_hit_for_fal(emulator: FalEmulator, tmp_path: Path) -> None:
    """The same prompt with a key of the realm fal, sent to a second server, is a new purchase."""
    assert fox(emulator, tmp_path).name == "Completed"
    with FalEmulator(speed=1000, clip="plain", realm="fal") as fal:
        assert fox(fal, tmp_path).name == "Completed"
        assert fox(fal, tmp_path).name == "Cached"
        assert (emulator.charged, fal.charged) == (1, 1)


def test_labels_are_kept_and_do_not_matter(emulator: FalEmulator, tmp_path: Path) -> None:
    """Labels are in the record, and the same request with others is the same video."""
    labelled = fox(emulator, tmp_path, labels={"shot": "12a", "client": "Acme"}).result()
    assert isinstance(labelled, Video)
    assert labelled.labels == {"shot": "12a", "client": "Acme"}
    assert fox(emulator, tmp_path, labels={"shot": "12b"}).name == "Cached"


def test_bad_input_is_refused_before_anything_is_sent(
    emulator: FalEmulator, tmp_path: Path
) -> None:
    """A prompt over the limit costs nothing, not even a request."""
    options: dict[str, Any] = {"credentials": emulator.credentials(), "storage": tmp_path}
    with pytest.raises(ValidationError, match="2000"):
        hailuo_02_pro_text_to_video("x" * 2001, **options)
    with pytest.raises(TypeError, match="Hailuo23ProTextToVideo"):
        generate_video("A red fox.", **options)
    assert sum(emulator.requests.values()) == 0


def test_without_a_key_the_error_names_the_cures(tmp_path: Path) -> None:
    """A call without credentials says what to set."""
    with pytest.raises(MissingKeyError, match="FAL_KEY"):
        hailuo_02_pro_text_to_video("An owl.", storage=tmp_path)


def test_calls_without_credentials_can_be_sent_to_an_emulator(
    emulator: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One setting lets a flow be tried as it is, at no cost."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", emulator.url)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY", str(tmp_path))
    video = hailuo_02_pro_text_to_video("An owl.")
    assert video.made_by_emulator
    assert video.path is not None
    assert video.path.parent == tmp_path / "emulator" / "videos"


def test_saved_blocks_are_named(emulator: FalEmulator, tmp_path: Path) -> None:
    """Credentials and storage may be the names of saved blocks."""
    name = f"mine-{uuid4().hex[:8]}"
    emulator.credentials().save(name)
    LocalFileSystem(basepath=str(tmp_path)).save(name)
    options: dict[str, Any] = {"credentials": name, "storage": f"block:local-file-system/{name}"}
    video = in_a_flow(partial(hailuo_02_pro_text_to_video, "An owl.", **options))
    assert video.path.parent == tmp_path


def test_an_unknown_block_is_named_with_its_cure(tmp_path: Path) -> None:
    """A misspelt block's name says what to do."""
    with pytest.raises(ConfigurationError, match=r"'no-such'.*Save it first"):
        hailuo_02_pro_text_to_video("An owl.", credentials="no-such", storage=tmp_path)
