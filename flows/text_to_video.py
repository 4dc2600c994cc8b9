"""One prompt, one video: a flow to deploy, to call from other flows, or to run as a command.

python flows/text_to_video.py "A red fox crosses a snowy field." --emulator
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

from prefect import flow

from prefect_hailuo import FalCredentials, Video, generate_video, skip_missed_slot, slot_take
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.flows.command import add_purchase_options, flow_parser, run_flow_command
from prefect_hailuo.flows.rows import TextModel, text_models
from prefect_hailuo.models.catalogue import VideoInput, find_input_class

MODELS = text_models()

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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0 with a video, 1 without one, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    video = run_flow_command(options, partial(_run, options), lambda video: video.place)
    return 0 if video else 1


def _run(options: argparse.Namespace, credentials: FalCredentials) -> Video:
    asked = (options.prompt, options.model, options.prompt_optimizer, options.duration)
    _input(*asked)  # checked before a server is started
    return text_to_video(
        *asked,
        take=options.take,
        storage=options.output,
        credentials=credentials,
        budget=options.budget,
    )


def _parser() -> argparse.ArgumentParser:
    parser = flow_parser("Make a video of a prompt, once.")
    parser.add_argument("prompt", help="what to show, 1 to 2000 characters")
    parser.add_argument(
        "--model", choices=MODELS, default=MODELS[0], help=f"by default, {MODELS[0]}"
    )
    parser.add_argument(
        "--duration", choices=get_args(Seconds), help="seconds, for a standard model; 6 by default"
    )
    add_purchase_options(parser, goes="the video goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
