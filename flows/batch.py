"""A catalogue, a video for each prompt: a flow to deploy, for one worker or split over several.

python flows/batch.py "A red fox crosses a snowy field." "An owl lands." --emulator
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from textwrap import shorten
from typing import Annotated, Any, Literal, get_args

import fsspec  # type: ignore[import-untyped]
from anyio.to_thread import run_sync
from prefect import flow
from pydantic import BaseModel, Field, ValidationError

from prefect_hailuo import (
    FalCredentials,
    Video,
    VideoOutcomes,
    agenerate_videos,
    askip_missed_slot,
    slot_take,
)
from prefect_hailuo.endpoints import VideoInput, find_input_class
from prefect_hailuo.errors import Billed, ConfigurationError
from prefect_hailuo.flow_command import flow_parser, run_flow_command
from prefect_hailuo.sharding import run_shards, split_parameters, tell_summary

Model = Literal["hailuo-2.3-pro", "hailuo-02-pro"]
MODELS: tuple[Model, ...] = get_args(Model)

MOST_FAILURES = 20
TEXT_CHARACTERS = 200


class BatchSummary(BaseModel):
    """What became of a catalogue; as small for ten thousand videos as for ten.

    Args:
        videos: How many were asked for; equal prompts are one.
        done: Those that are there.
        new: Those of them that fal took on after the run had begun.
        spent_usd: What the new ones cost, by the catalogue; an emulator's cost nothing.
        failed: Those that are not there.
        maybe_billed: Those of the failed that cost money, or may have.
        failures: The first of the failed: the prompt and what happened.
        places: Where the videos are: a directory's path is one of the machine that made it.
    """

    videos: int = 0
    done: int = 0
    new: int = 0
    spent_usd: Decimal = Decimal(0)
    failed: int = 0
    maybe_billed: int = 0
    failures: list[str] = Field(default_factory=list)
    places: list[str] = Field(default_factory=list)


@flow(name="batch")
async def batch(
    prompts: list[str] | None = None,
    prompts_file: str | None = None,
    model: Model = "hailuo-2.3-pro",
    prompt_optimizer: bool = True,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    timeout_seconds: float | None = None,
    shards: Annotated[int, Field(ge=1)] = 1,
    deployment: str | None = None,
    skip_if_late_seconds: float | None = None,
) -> BatchSummary:
    """Make a video of each prompt, or find those made before. **This may spend money, for each.**

    Run it again as it is, whatever happened: what was bought is found in the ledger.

    Args:
        prompts: What to show, 1 to 2000 characters each. Prefect takes parameters of 512 KB.
        prompts_file: A text file with a prompt on each line instead: a path, or an address that
            fsspec opens, such as `s3://bucket/prompts.txt`. Only this run reads it, not its shards.
        model: Which model makes them.
        prompt_optimizer: Whether MiniMax may rewrite the prompts.
        take: Which of several videos of the same prompt; another take is another purchase. In a
            schedule, `{date}` is one for each day, and `{time}` one for each slot.
        storage: A directory, or a storage block as `block:<type>/<name>`, which shards on several
            machines need; by default, a directory in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY` of each worker.
        budget: The name of the scope that pays.
        timeout_seconds: How long fal may let nothing come any further; by default half an hour.
        shards: How many runs of the deployment share the prompts; more, where Prefect would not
            take the parameters of so few. This run waits for them, and takes a worker's place.
        deployment: Whose runs the shards are, as `flow name/deployment name`; by default, the one
            that this run is of.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.

    Raises:
        ConfigurationError: Something is missing or cannot be used; nothing was bought.
        HailuoError: A shard crashed; the message says which.
    """
    if skipped := await askip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    texts = await run_sync(_texts, prompts, prompts_file)
    inputs = _inputs(texts, model, prompt_optimizer)
    options: dict[str, Any] = {"take": slot_take(take), "storage": storage, "budget": budget}
    options["timeout_seconds"] = timeout_seconds
    if shards == 1:
        began = datetime.now(timezone.utc)
        outcomes = await agenerate_videos(inputs, credentials=credentials, **options)
        summary = _sum_up(outcomes, began)
    else:
        options |= {"model": model, "prompt_optimizer": prompt_optimizer}
        options["credentials"] = _saved_name(credentials)
        parts = split_parameters("prompts", texts, shards, options)
        told = await run_shards(deployment, parts)
        summary = _add([BatchSummary.model_validate(each) for each in told])
    await tell_summary(summary.model_dump(mode="json"))
    return summary


def _texts(prompts: list[str] | None, prompts_file: str | None) -> list[str]:
    """The prompts, each once."""
    if prompts is not None and prompts_file is None:
        return list(dict.fromkeys(prompts))
    if prompts is None and prompts_file is not None:
        return list(dict.fromkeys(_lines(prompts_file)))
    raise ConfigurationError(
        "The prompts come either as `prompts` or as `prompts_file`.", cure="Pass one of them."
    )


def _lines(address: str) -> list[str]:
    try:
        with fsspec.open(address, "rt", encoding="utf-8-sig") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, ValueError, ImportError) as error:
        raise ConfigurationError(
            f"The prompts cannot be read from {address!r}: {error}",
            cure="Pass a UTF-8 text file that the worker of this run can open.",
        ) from error


def _inputs(prompts: Sequence[str], model: Model, prompt_optimizer: bool) -> list[VideoInput]:
    """All of them checked, before anything is bought and before a shard is started."""
    input_class = find_input_class(model)
    inputs: list[VideoInput] = []
    for number, prompt in enumerate(prompts, 1):
        try:
            inputs.append(input_class(prompt=prompt, prompt_optimizer=prompt_optimizer))
        except ValidationError as error:
            raise ConfigurationError(
                f"Prompt {number}, {shorten(prompt, 60)!r}: {error.errors()[0]['msg']}.",
                cure="Correct it, and run the batch again.",
            ) from error
    return inputs


def _sum_up(outcomes: VideoOutcomes, began: datetime) -> BatchSummary:
    new = [each for each in outcomes.videos if each.submitted_at and each.submitted_at >= began]
    paid = [each.price_usd for each in new if each.price_usd and not each.made_by_emulator]
    failures = [(each.input.prompt, each.failure) for each in outcomes if each.failure]
    return BatchSummary(
        videos=len(outcomes),
        done=len(outcomes.videos),
        new=len(new),
        spent_usd=sum(paid, Decimal(0)),
        failed=len(failures),
        maybe_billed=sum(each.billed is not Billed.NO for _, each in failures),
        failures=[_say(*each) for each in failures[:MOST_FAILURES]],
        places=sorted({_place(each) for each in outcomes.videos}),
    )


def _place(video: Video) -> str:
    return str(video.path.parent) if video.path else video.storage


def _say(prompt: str, failure: Any) -> str:
    return shorten(f"{prompt[:60]!r}: {failure.kind}: {failure.message}", TEXT_CHARACTERS)


def _add(summaries: Sequence[BatchSummary]) -> BatchSummary:
    return BatchSummary(
        videos=sum(each.videos for each in summaries),
        done=sum(each.done for each in summaries),
        new=sum(each.new for each in summaries),
        spent_usd=sum((each.spent_usd for each in summaries), Decimal(0)),
        failed=sum(each.failed for each in summaries),
        maybe_billed=sum(each.maybe_billed for each in summaries),
        failures=[text for each in summaries for text in each.failures][:MOST_FAILURES],
        places=sorted({place for each in summaries for place in each.places}),
    )


def _saved_name(credentials: FalCredentials | str | None) -> str | None:
    """What another machine can find; a key is never a parameter."""
    if not isinstance(credentials, FalCredentials):
        return credentials
    name: str | None = credentials._block_document_name
    if name is None:
        raise ConfigurationError(
            "Shards cannot be given credentials that are not saved.",
            cure="Save the block, and pass its name.",
        )
    return name


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 0 with all videos, 1 without some, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    summary = run_flow_command(options, partial(_run, options), _as_text)
    return 0 if summary and not summary.failed else 1


def _run(options: argparse.Namespace, credentials: FalCredentials) -> BatchSummary:
    run = batch(
        options.prompts or None,
        options.file,
        model=options.model,
        take=options.take,
        storage=options.output,
        credentials=credentials,
        budget=options.budget,
    )
    return asyncio.run(run)


def _as_text(summary: BatchSummary) -> str:
    first = f"{summary.done} of {summary.videos} done, {summary.new} new for ${summary.spent_usd}"
    return "\n".join([first, *summary.places, *summary.failures])


def _parser() -> argparse.ArgumentParser:
    parser = flow_parser("Make a video of each prompt, once.")
    parser.add_argument("prompts", nargs="*", help="what to show, 1 to 2000 characters each")
    parser.add_argument("--file", help="a text file with a prompt on each line instead")
    parser.add_argument("--model", choices=MODELS, default=MODELS[0])
    parser.add_argument(
        "--take", default="0", help="another take of the same prompt is another purchase"
    )
    parser.add_argument("--output", metavar="DIR", help="where the videos go")
    parser.add_argument("--budget", metavar="SCOPE", help="the name of the scope that pays")
    return parser


if __name__ == "__main__":
    sys.exit(main())
