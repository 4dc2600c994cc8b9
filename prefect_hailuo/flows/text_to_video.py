"""The flow `text_to_video`: one prompt, one video.

prefect-hailuo run text-to-video "A red fox crosses a snowy field." --emulator
"""

from functools import partial
from typing import Annotated, Literal

from cyclopts import Parameter
from prefect import flow

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

Seconds = Literal["6", "10"]
"""How long a standard model's video may be."""


@flow(name="text-to-video")
def text_to_video(
    prompt: str,
    model: TextModel = "hailuo-2.3-pro",
    prompt_optimizer: bool = True,
    duration: Seconds | None = None,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    skip_if_late_seconds: float | None = None,
) -> Video:
    """Make a video of a prompt, or find the one that was made before. **This may spend money.**

    Args:
        prompt: What to show, 1 to 2000 characters.
        model: Which model makes it.
        prompt_optimizer: Whether MiniMax may rewrite the prompt.
        duration: Seconds, for a standard model, by default 6; a pro one always makes 6.
        take: Which of several videos of the same prompt; another take is another purchase. In a
            schedule, `{date}` is one for each day, and `{time}` one for each slot.
        storage: A directory, or a storage block as `block:<type>/<name>`; by default, a directory
            in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY`.
        budget: The name of the scope that pays.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.

    Raises:
        ConfigurationError: The model has no choice of durations; nothing was bought.
        HailuoError: By kind, as `generate_video` does.
    """
    if skipped := skip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    return generate_video(
        _input(prompt, model, prompt_optimizer, duration),
        credentials=credentials,
        storage=storage,
        take=slot_take(take),
        budget=budget,
    )


def _input(prompt: str, model: str, prompt_optimizer: bool, duration: Seconds | None) -> VideoInput:
    input_class = find_input_class(model)
    settings = {} if duration is None else {"duration": duration}
    if not settings.keys() <= input_class.model_fields.keys():
        raise ConfigurationError(
            f"{model} has no choice of durations; nothing was bought.",
            cure="Leave the duration out, or take a standard model.",
        )
    return input_class.model_validate(
        {"prompt": prompt, "prompt_optimizer": prompt_optimizer, **settings}
    )


app = flow_app("text-to-video")

main = partial(run_flow_app, app)


@app.default
def command(
    prompt: Annotated[str, Parameter(help="What to show, 1 to 2000 characters.")],
    /,
    *,
    model: Annotated[TextModelName, Parameter(help="Which model makes it.")] = "hailuo-2.3-pro",
    duration: Annotated[
        Seconds | None, Parameter(help="Seconds, for a standard model; 6 by default.")
    ] = None,
    options: PurchaseOptions = PurchaseOptions(),
) -> int:
    """Make a video of a prompt, once.

    The exit code is 0 with a video, 1 without one, 2 for a wrong call.
    """

    def run(credentials: FalCredentials) -> Video:
        refuse_file_names(prompt)
        # Checked before a server is started.
        _input(prompt, model, options.prompt_optimizer, duration)
        video: Video = text_to_video(
            prompt, model, duration=duration, **options.parameters(credentials)
        )
        return video

    return 0 if run_flow_command(options, run, lambda video: video.place) else 1
