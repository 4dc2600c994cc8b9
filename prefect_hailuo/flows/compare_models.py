"""The flow `compare_models`: one prompt, several models, a card and a clip side by side.

prefect-hailuo run compare-models "A red fox crosses a snowy field." --emulator
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from cyclopts import Parameter
from prefect import flow
from pydantic import Field

from prefect_hailuo import (
    BatchItem,
    FalCredentials,
    agenerate_videos,
    ashow_side_by_side,
    askip_missed_slot,
    slot_take,
)
from prefect_hailuo.engine.order import buying_only
from prefect_hailuo.errors import BatchError, ConfigurationError, NotApprovedError
from prefect_hailuo.flows.command import (
    ApprovalOptions,
    TextModelName,
    flow_app,
    refuse_file_names,
    run_flow_app,
    run_flow_command,
    run_to_summary,
)
from prefect_hailuo.flows.comparison import Comparison, name_of, publish_comparison
from prefect_hailuo.flows.model_names import TextModel, text_models
from prefect_hailuo.flows.plan import Plan, aapprove_plan, make_plan, not_approved
from prefect_hailuo.flows.report import ending, failed_state
from prefect_hailuo.media.probe import require_media
from prefect_hailuo.models.catalogue import VideoInput, find_input_class
from prefect_hailuo.tasks.batch import OnFailed

BOTH_PRO = ["hailuo-2.3-pro", "hailuo-02-pro"]


@flow(name="compare-models")
async def compare_models(
    prompt: str,
    models: Annotated[list[TextModel], Field(min_length=2)] = BOTH_PRO,
    prompt_optimizer: bool = True,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    approve_above_usd: Annotated[float | None, Field(ge=0)] = None,
    on_failed: OnFailed = "raise",
    skip_if_late_seconds: float | None = None,
) -> Comparison:
    """Have several models make a video of the same prompt. **This may spend money, for each.**

    It shows a card with what each cost and how long it took, their posters side by side, and makes
    a clip that plays them side by side. Run it again as it is, whatever happened: what was bought
    is found in the ledger. Where a model fails, the others are compared.

    Args:
        prompt: What to show, 1 to 2000 characters.
        models: Which models make it, from left to right; two at the least.
        prompt_optimizer: Whether MiniMax may rewrite the prompt.
        take: Which of several videos of the same prompt; another take is another purchase. In a
            schedule, `{date}` is one for each day, and `{time}` one for each slot.
        storage: A directory, or a storage block as `block:<type>/<name>`, for the videos and the
            clip; by default, a directory in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY`.
        budget: The name of the scope that pays.
        approve_above_usd: Above this cost, in US dollars, the run pauses before anything is spent,
            until a person resumes it in Prefect's UI and chooses to buy.
        on_failed: Where a model failed, `"raise"`: the run ends Failed, and says how many. Or
            `"return"` the comparison all the same: the run ends Completed.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.

    Raises:
        ConfigurationError: Something is missing or cannot be used; nothing was bought.
        NotApprovedError: Nobody approved the cost; the run is Cancelled, and nothing was bought.
        BatchError: A model failed, and `on_failed` is `"raise"`; its `summary` is the comparison.
    """
    if skipped := await askip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    require_media()
    take = slot_take(take)
    inputs = _inputs(prompt, models, prompt_optimizer)
    try:
        approved = await aapprove_plan(
            [BatchItem(input=each, take=take) for each in inputs],
            credentials=credentials,
            budget=budget,
            approve_above_usd=approve_above_usd,
        )
    except NotApprovedError as error:
        return not_approved(error)  # type: ignore[no-any-return]
    with buying_only(approved):
        outcomes = await agenerate_videos(
            inputs, take=take, storage=storage, credentials=credentials, budget=budget
        )
    comparison = Comparison(prompt=prompt, outcomes=list(outcomes))
    if len(comparison.videos) > 1:
        names = [name_of(each) for each in outcomes if each.video]
        clip = await ashow_side_by_side(
            comparison.videos, names, storage=storage, name=f"side by side {prompt}"
        )
        comparison = comparison.model_copy(update={"clip": clip})
    await run_sync(publish_comparison, comparison, storage)
    if comparison.failed and on_failed == "raise":
        try:
            outcomes.raise_for_failed()
        except BatchError as error:
            error.summary = comparison
            done, videos, failed = len(comparison.videos), len(outcomes), len(comparison.failed)
            return failed_state(ending(done, videos, failed), error)  # type: ignore[no-any-return]
    return comparison


def _inputs(prompt: str, models: Sequence[str], prompt_optimizer: bool) -> list[VideoInput]:
    classes = dict.fromkeys(find_input_class(each) for each in models)
    if len(classes) < 2:
        raise ConfigurationError(
            "It takes two models to compare; nothing was bought.",
            cure=f"Pass two or more of {', '.join(text_models())}.",
        )
    return [each(prompt=prompt, **each.rewriting(prompt_optimizer)) for each in classes]


app = flow_app("compare-models")

main = partial(run_flow_app, app)


@app.default
def command(
    prompt: Annotated[str, Parameter(help="What to show, 1 to 2000 characters.")],
    /,
    *,
    models: Annotated[
        list[TextModelName] | None,
        Parameter(
            help=f"From left to right; by default, {' and '.join(BOTH_PRO)}.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    options: ApprovalOptions = ApprovalOptions(),
) -> int:
    """Have several models make a video of the same prompt, once each.

    The exit code is 0 with all videos, 1 without one, 2 for a wrong call.
    """
    names = BOTH_PRO if models is None else models

    def run(credentials: FalCredentials) -> Comparison | Plan:
        refuse_file_names(prompt)
        inputs = _inputs(prompt, names, options.prompt_optimizer)  # before a server is started
        if options.plan:  # which needs none
            items = [BatchItem(input=each, take=options.take) for each in inputs]
            return asyncio.run(make_plan(items, credentials=credentials, budget=options.budget))
        made = compare_models(prompt, names, **options.parameters(credentials))
        return run_to_summary(made, Comparison)

    comparison = run_flow_command(options, run, _as_text)
    failed = comparison.failed if isinstance(comparison, Comparison) else []
    return 0 if comparison and not failed else 1


def _as_text(comparison: Comparison | Plan) -> str:
    if isinstance(comparison, Plan):
        return comparison.text()
    failed = [f"{name_of(each)}: {each.error}" for each in comparison.failed]
    lines = [*failed, *(each.place for each in comparison.videos)]
    return "\n".join([*lines, comparison.clip.place] if comparison.clip else lines)
