"""The options of a purchase, which are declared once: every task shows them, and takes them."""

from __future__ import annotations

import inspect
import pydoc
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from prefect import flow, task, unmapped
from prefect.context import TaskRunContext
from prefect.utilities.callables import get_call_parameters, parameter_schema
from pydantic import SecretStr

import prefect_hailuo
from prefect_hailuo import (
    FalCredentials,
    Hailuo23ProTextToVideo,
    PurchaseOptions,
    Video,
    agenerate_video,
    ahailuo_23_pro_text_to_video,
    asubmit_video,
    generate_video,
    generate_videos,
    generate_videos_as_completed,
    hailuo_02_standard_image_to_video,
    hailuo_23_pro_text_to_video,
    hailuo_23_standard_text_to_video,
    submit_video,
)
from prefect_hailuo.runs.options import DEFAULTS, MEANINGS, SubmitOptions
from prefect_hailuo.runs.orders import make_order

FOX = Hailuo23ProTextToVideo(prompt="A red fox.")

BUYING = {
    name: getattr(thing, "fn", thing)
    for name in prefect_hailuo.__all__
    if (thing := getattr(prefect_hailuo, name)) in (generate_video, agenerate_video)
    or name.startswith(("hailuo_", "ahailuo_", "generate_videos", "agenerate_videos"))
}
"""Whatever takes all the options, by its public name."""

each_buying = pytest.mark.parametrize("function", BUYING.values(), ids=BUYING)


def test_each_option_has_a_type_a_default_and_a_meaning() -> None:
    """In the same order, so that nothing is forgotten when one is added."""
    assert list(DEFAULTS) == list(MEANINGS)
    assert DEFAULTS.keys() == get_type_hints(PurchaseOptions).keys()


@each_buying
def test_a_signature_names_each_option(function: Any) -> None:
    """By keyword alone, with the default that holds; it says the types as they are written."""
    parameters = inspect.signature(function).parameters
    for name, default in DEFAULTS.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == default
    assert "options" not in parameters
    assert str(parameters["credentials"]) == "credentials: 'Credentials' = None"
    assert parameters["take"].annotation == int | str


def test_submitting_takes_what_concerns_the_request_alone() -> None:
    """Where the video is kept is no matter yet."""
    for submitting in (submit_video, asubmit_video):
        named = list(inspect.signature(submitting).parameters)[1:]
        assert set(named) == get_type_hints(SubmitOptions).keys()
        assert set(DEFAULTS) - set(named) == {"storage", "timeout_seconds", "on_lost"}


@each_buying
def test_help_explains_each_option(function: Any) -> None:
    """A twin names the function that does, and shows them in its signature."""
    shown = pydoc.plain(pydoc.render_doc(function))
    assert all(f"{name}: " in shown for name in DEFAULTS)
    if "twin of" in shown:
        return
    own = {"take", "timeout_seconds"} if "videos" in function.__name__ else set()
    for name in DEFAULTS.keys() - own:
        [first, *_] = MEANINGS[name].splitlines()
        assert f"        {name}: {first}\n" in shown


def test_help_explains_each_field() -> None:
    """In the words of the model's input, and with what the task says of its own."""
    doc = hailuo_02_standard_image_to_video.__doc__
    assert doc is not None and "As for" not in doc
    assert "        end_image_url: The picture to end with, if any.\n" in doc
    assert '        resolution: `"768P"`: $0.27, 10 s $0.45; `"512P"`' in doc
    assert doc.index("prompt: ") < doc.index("resolution: ") < doc.index("credentials: ")


def test_a_misspelt_option_is_refused_by_name(credentials: FalCredentials) -> None:
    """Type checkers refuse it too: the comments below are for them, and would else be too many."""
    meant = "'on_loss'. Did you mean 'on_lost'?"
    with pytest.raises(TypeError, match=meant):
        generate_video(FOX, on_loss="raise")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=meant):
        hailuo_23_pro_text_to_video.submit("A fox.", on_loss="raise")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=meant):
        hailuo_23_pro_text_to_video.fn("A fox.", on_loss="raise")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=meant):
        make_order(FOX, on_loss="raise")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=meant):
        generate_videos([FOX], on_loss="raise")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=meant):
        list(generate_videos_as_completed([FOX], on_loss="raise"))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"'promt'. Did you mean 'prompt'\?"):
        hailuo_23_pro_text_to_video(promt="A fox.")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"'colour'. There are input, credentials, storage"):
        generate_video(FOX, colour="red")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"'storage'. There are input, credentials, take"):
        submit_video(FOX, storage="videos")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="too many positional arguments"):
        generate_video(FOX, credentials)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="take"):
        make_order(FOX, take=1.5, credentials=credentials)  # type: ignore[arg-type]


@pytest.mark.usefixtures("prefect_server")
def test_options_are_mapped_as_parameters_are(credentials: FalCredentials, tmp_path: Path) -> None:
    """A list gives each video its own; what is unmapped, or no list, is for all of them."""

    @flow
    def clips() -> list[Video]:
        options: dict[str, Any] = {
            "credentials": unmapped(credentials),
            "labels": unmapped({"client": "Acme"}),
            "storage": tmp_path,
        }
        prompts = ["A fox.", "A fox.", "An owl."]
        futures = hailuo_23_pro_text_to_video.map(prompts, take=[0, 1, "two"], **options)
        return list(futures.result())

    videos = clips()
    assert [(video.prompt, video.take) for video in videos] == [
        ("A fox.", "0"),
        ("A fox.", "1"),
        ("An owl.", "two"),
    ]
    assert {str(video.labels) for video in videos} == {"{'client': 'Acme'}"}


def test_prefect_shows_each_option_in_forms() -> None:
    """As parameters of a task, or of a flow that is made of a task's function."""
    schema = parameter_schema(hailuo_23_standard_text_to_video.fn)
    assert list(schema.properties) == ["prompt", "prompt_optimizer", "duration", *DEFAULTS]
    assert schema.required == ["prompt"]
    assert schema.properties["on_lost"]["enum"] == ["raise", "resubmit"]
    assert schema.properties["duration"]["enum"] == ["6", "10"]
    for name, meaning in MEANINGS.items():
        described = schema.properties[name]["description"]
        assert described.split() == meaning.split()
    of_flow = flow(hailuo_23_standard_text_to_video.fn).parameters.properties
    assert of_flow.keys() == schema.properties.keys()


GOLDEN = {
    "input": "6458e294340e85f542cb05d423e0fa131948269e4bec7d56ebb3c7e610a35a54",
    "labels": "6458e294340e85f542cb05d423e0fa131948269e4bec7d56ebb3c7e610a35a54",
    "take": "d630e5d9d223dba960942b856b9e5893b554fc5e637fb6b24b2102c8983a03b9",
    "positional": "0d3eaab69d18c3e8257d03494edc1552a720fe7052e1e4e02b36012505c6a8cf",
    "pictures": "ac1da2c35dfe6ca5fc1cca9a585e23f5c6d71ea197ca827ea1f24c305ca2688c",
}
"""Cache keys as release 0.1.0 computed them, before the options were declared once."""


@task
def cache_key(buying: Any, *args: Any, **options: Any) -> Any:
    """The key by which Prefect looks for the result of a call."""
    given = get_call_parameters(buying.fn, args, options)
    context = TaskRunContext.get()
    return buying.cache_policy.compute_key(context, given, {})


@pytest.mark.usefixtures("prefect_server")
def test_results_of_the_first_release_are_found() -> None:
    """An option that is left out counts as its default, and only take and storage count."""
    mine: dict[str, Any] = {
        "credentials": FalCredentials(api_key=SecretStr("id:secret")),
        "storage": "/videos",
    }
    image = f"sha256:{'7' * 64}"
    shown = {"image_url": image, "end_image_url": image, "duration": 10, "resolution": "512P"}
    late = {"timeout_seconds": 60.0, "on_lost": "resubmit", "on_ambiguous": "resubmit"}
    pro, standard = hailuo_23_pro_text_to_video, hailuo_23_standard_text_to_video
    of_image = hailuo_02_standard_image_to_video
    assert {
        "input": cache_key(generate_video, FOX, **mine),
        "labels": cache_key(pro, "A red fox.", labels={"a": "b"}, budget="b", **mine),
        "take": cache_key(ahailuo_23_pro_text_to_video, "A red fox.", take="2026-06-05", **mine),
        "positional": cache_key(standard, "A red fox.", False, "10", **mine),
        "pictures": cache_key(of_image, prompt="A red fox.", **shown, **late, **mine),
    } == GOLDEN
