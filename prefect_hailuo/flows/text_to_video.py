"""The flow `text_to_video`: one prompt, one video.

prefect-hailuo run text-to-video "A red fox crosses a snowy field." --emulator
"""

from functools import partial
from typing import Annotated

from cyclopts import Parameter, validators
from prefect import flow
from pydantic import Field

from prefect_hailuo import FalCredentials, Video, generate_video, skip_missed_slot, slot_take
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.flows.command import (
    PurchaseOptions,
    TextModelName,
    flow_app,
    refuse_file_names,
    run_flow_app,
    run_flow_command,
)
from prefect_hailuo.flows.model_names import TextModel
from prefect_hailuo.models.catalogue import VideoInput, find_input_class

Seconds = Annotated[int, Field(ge=5, le=15)]
"""How long a video may be; a model may have fewer choices."""


@flow(name="text-to-video")
def text_to_video(
    prompt: str,
    model: TextModel = "hailuo-2.3-pro",
    prompt_optimizer: bool = True,
    duration: Seconds | None = None,
    resolution: str | None = None,
    aspect_ratio: str | None = None,
    seed: int | None = None,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    skip_if_late_seconds: float | None = None,
) -> Video:
    """Make a video of a prompt, or find the one that was made before. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters; for Hailuo 3, to 50000.
        model: Which model makes it.
        prompt_optimizer: Whether MiniMax may rewrite the prompt.
        duration: Seconds: 6 or 10 for a standard model, 5 to 15 for Hailuo 3; by default 6 and 5. A
            pro one always makes 6.
        resolution: Such as `768P`, for Hailuo 3.
        aspect_ratio: Such as `9:16`, for Hailuo 3; by default `16:9`.
        seed: Any whole number, for Hailuo 3: another seed is another video. Another `take` is
            another try of an equal input.
        take: Which of several videos of the same prompt; another take is another purchase. In a
            schedule, `{date}` is one for each day, and `{time}` one for each slot.
        storage: A directory, or a storage block as `block:<type>/<name>`; by default, a directory
            in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY`.
        budget: The name of the scope that pays.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.

    Raises:
        ConfigurationError: The model has no such setting; nothing was bought.
        HailuoError: By kind, as `generate_video` does.
    """
    if skipped := skip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    return generate_video(
        _input(prompt, model, prompt_optimizer, duration, resolution, aspect_ratio, seed),
        credentials=credentials,
        storage=storage,
        take=slot_take(take),
        budget=budget,
    )


def _input(
    prompt: str,
    model: str,
    prompt_optimizer: bool,
    duration: Seconds | None,
    resolution: str | None,
    aspect_ratio: str | None,
    seed: int | None,
) -> VideoInput:
    input_class = find_input_class(model)
    asked = {
        "duration": duration,
        "resolution": resolution,
        "aspect_ratio": aspect_ratio,
        "seed": seed,
    }
    settings = {name: each for name, each in asked.items() if each is not None}
    foreign = [name for name in settings if name not in input_class.model_fields]
    if foreign:
        lacking = " and ".join(_LACKING.get(name, f"no {name}") for name in foreign)
        raise ConfigurationError(
            f"{model} has {lacking}; nothing was bought.",
            cure="Leave it out, or take a model that has it: a standard one has durations, Hailuo "
            "3 (h3, h3-max, h3-max-turbo) has all of them.",
        )
    return input_class.model_validate(
        {"prompt": prompt, **input_class.rewriting(prompt_optimizer), **settings}
    )


_LACKING = {"duration": "no choice of durations", "resolution": "no choice of resolutions"}


app = flow_app("text-to-video")

main = partial(run_flow_app, app)


@app.default
def command(
    prompt: Annotated[str, Parameter(help="What to show.")],
    /,
    *,
    model: Annotated[TextModelName, Parameter(help="Which model makes it.")] = "hailuo-2.3-pro",
    duration: Annotated[
        int | None,
        Parameter(
            help="Seconds: 6 or 10 for a standard model, 5 to 15 for Hailuo 3.",
            validator=validators.Number(gte=5, lte=15),
        ),
    ] = None,
    resolution: Annotated[str | None, Parameter(help="Such as 768P, for Hailuo 3.")] = None,
    aspect_ratio: Annotated[str | None, Parameter(help="Such as 9:16, for Hailuo 3.")] = None,
    seed: Annotated[int | None, Parameter(help="Any whole number, for Hailuo 3.")] = None,
    options: PurchaseOptions = PurchaseOptions(),
) -> int:
    """Make a video of a prompt, once.

    The exit code is 0 with a video, 1 without one, 2 for a wrong call.
    """
    settings = (duration, resolution, aspect_ratio, seed)

    def run(credentials: FalCredentials) -> Video:
        refuse_file_names(prompt)
        # Checked before a server is started.
        _input(prompt, model, options.prompt_optimizer, *settings)
        video: Video = text_to_video(
            prompt,
            model,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            seed=seed,
            **options.parameters(credentials),
        )
        return video

    return 0 if run_flow_command(options, run, lambda video: video.place) else 1
