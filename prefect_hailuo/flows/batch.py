"""The flow `batch`: a video for each row, on one worker or split over several.

prefect-hailuo run batch "A red fox crosses a snowy field." "An owl lands." --emulator
prefect-hailuo run batch rows.csv --emulator --plan
"""

import asyncio
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from inspect import signature
from typing import Annotated, Any
from uuid import UUID

from anyio.to_thread import run_sync
from cyclopts import Parameter
from prefect import flow, runtime
from pydantic import Field

from prefect_hailuo import (
    Budget,
    FalCredentials,
    agenerate_videos,
    askip_missed_slot,
    slot_take,
)
from prefect_hailuo.engine.order import buying_only
from prefect_hailuo.errors import ConfigurationError, NotApprovedError
from prefect_hailuo.flows.command import (
    AnyModelName,
    ApprovalOptions,
    flow_app,
    run_flow_app,
    run_flow_command,
    run_to_summary,
)
from prefect_hailuo.flows.manifest import Defaults, Manifest, make_manifest, rows_of
from prefect_hailuo.flows.model_names import AnyModel
from prefect_hailuo.flows.paths import check_path, check_pictures
from prefect_hailuo.flows.plan import Plan, make_plan, not_approved, question_of
from prefect_hailuo.flows.report import (
    BatchSummary,
    add_up,
    batch_error,
    failed_state,
    publish_plan,
    report_batch,
    sum_up,
)
from prefect_hailuo.flows.row_files import Format, is_row_file, read_rows, rows_of_list
from prefect_hailuo.flows.shards import run_shards, saved_name, split_parameters, tell_summary
from prefect_hailuo.flows.sheet import entries_of_ledger, entries_of_outcomes
from prefect_hailuo.tasks.approval import aapproved_in, aask_approval, arecord_approved
from prefect_hailuo.tasks.batch import OnFailed

DEFAULT_MODEL = "hailuo-2.3-pro"


@flow(name="batch")
async def batch(
    prompts: list[str] | None = None,
    prompts_file: str | None = None,
    rows: list[dict[str, Any]] | None = None,
    model: AnyModel = DEFAULT_MODEL,
    prompt_optimizer: bool = True,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    budget_usd: Annotated[float | None, Field(ge=0)] = None,
    approve_above_usd: Annotated[float | None, Field(ge=0)] = None,
    plan_only: bool = False,
    report: bool = True,
    timeout_seconds: float | None = None,
    shards: Annotated[int, Field(ge=1)] = 1,
    deployment: str | None = None,
    approved_in: UUID | None = None,
    on_failed: OnFailed = "raise",
    skip_if_late_seconds: float | None = None,
    prompts_format: Format | None = None,
) -> BatchSummary:
    """Make a video of each prompt, or find those made before. **This may spend money, for each.**

    Run it again as it is, whatever happened: what was bought is found in the ledger. It begins
    with a plan and its cost, and ends with a table, a CSV and a contact sheet.

    Args:
        prompts: What to show, 1 to 2000 characters each. Prefect takes parameters of 512 KB.
        prompts_file: A file instead: CSV, JSON Lines, JSON or YAML with a column for each field, or
            a text with a prompt on each line. A path, or an address that fsspec opens, such as
            `s3://bucket/rows.csv`. Only this run reads it, not its shards. In a deployment, a path
            must be below one of the setting `readable_paths`, and so must pictures' paths.
        rows: Rows instead, each with a `prompt`, and if wanted `model`, `take`, `labels`, and any
            field of its model's input.
        model: The model of rows that name none.
        prompt_optimizer: Whether MiniMax may rewrite prompts, where a row does not say.
        take: Which of several videos of the same prompt, for rows that do not say; another take is
            another purchase. In a schedule, `{date}` is one for each day, and `{time}` one for each
            slot; in rows, too.
        storage: A directory, or a storage block as `block:<type>/<name>`, which shards on several
            machines need; by default, a directory in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY` of each worker.
        budget: The name of the scope that pays.
        budget_usd: The most that this scope may ever spend, in US dollars, if it has no limit yet.
        approve_above_usd: Above this cost, in US dollars, the run pauses before anything is spent,
            until a person resumes it in Prefect's UI and chooses to buy.
        plan_only: Say what would be bought and what it costs, and end there.
        report: Whether a plan, a table, a CSV and a contact sheet are made; shards make none.
        timeout_seconds: How long fal may let nothing come any further; by default half an hour.
        shards: How many runs of the deployment share the prompts; more, where Prefect would not
            take the parameters of so few. This run waits for them, and takes a worker's place.
        deployment: The deployment of the shards' runs, as `flow name/deployment name`; by default,
            that of this run.
        approved_in: For shards, the flow run whose record says what may be bought, by a person's
            word or because it costs little: nothing else is bought, and nothing without a record.
        on_failed: Where some failed, `"raise"`: the run ends Failed, and says how many; its
            caller gets a `BatchError` with the summary. Or `"return"` the summary all the same:
            the run ends Completed.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.
        prompts_format: How `prompts_file` is written, where its name does not tell: `csv`, `jsonl`,
            `json`, `yaml`, or `text` with a prompt on each line.

    Raises:
        BatchError: Some failed, and `on_failed` is `"raise"`; its `summary` says what is there.
        ConfigurationError: Something is missing or wrong, such as rows; nothing was bought.
        NotApprovedError: Nobody approved the cost; the run is Cancelled, and nothing was bought.
        HailuoError: A shard crashed; the message says which.
    """
    if skipped := await askip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    began = datetime.now(timezone.utc)
    defaults = Defaults(model, take, {"prompt_optimizer": prompt_optimizer}, slot_take)
    manifest = await run_sync(_read, prompts, prompts_file, rows, defaults, prompts_format)
    payer = _payer(budget, budget_usd)
    plan = None
    if report or plan_only or approve_above_usd is not None:
        plan = await _plan(manifest, credentials, payer)
        await publish_plan(plan)
    if plan and plan_only:
        return BatchSummary(videos=plan.videos, plan=plan)
    try:
        approved = await _approve(plan, approve_above_usd, manifest, approved_in, shards > 1)
    except NotApprovedError as error:
        return not_approved(error)  # type: ignore[no-any-return]
    options: dict[str, Any] = {"storage": storage, "timeout_seconds": timeout_seconds}
    if shards == 1:
        options |= {"credentials": credentials, "budget": payer}
        with buying_only(approved):
            outcomes = await agenerate_videos(manifest.items, **options)
        summary = sum_up(outcomes, began)
        entries = entries_of_outcomes(manifest.items, outcomes, began)
    else:
        options |= {"credentials": saved_name(credentials), "report": False}
        options |= {"budget": budget, "budget_usd": budget_usd, "on_failed": on_failed}
        options["approved_in"] = None if approved is None else approved_in or runtime.flow_run.id
        summary = await _shard(manifest, shards, deployment, options)
        entries = await entries_of_ledger(manifest.items, began, credentials, storage)
    summary.plan = plan
    if report:
        await report_batch(summary, entries, credentials, storage)
    await tell_summary(summary.model_dump(mode="json", exclude={"plan"}))
    if summary.failed and on_failed == "raise":
        return failed_state(summary.ending, batch_error(summary))  # type: ignore[no-any-return]
    return summary


def _read(
    prompts: list[str] | None,
    prompts_file: str | None,
    rows: list[dict[str, Any]] | None,
    defaults: Defaults,
    prompts_format: Format | None = None,
) -> Manifest:
    """All rows checked, before anything is bought and before a shard is started."""
    if sum(each is not None for each in (prompts, prompts_file, rows)) != 1:
        raise ConfigurationError(
            "The prompts come either as `prompts`, as `prompts_file`, or as `rows`.",
            cure="Pass one of them.",
        )
    if prompts_file:
        check_path(prompts_file)
    listed = rows_of_list([*(prompts or []), *(rows or [])])
    raw = read_rows(prompts_file, prompts_format) if prompts_file else listed
    manifest = make_manifest(raw, defaults)
    check_pictures(item.input for item in manifest.items)
    return manifest


def _payer(scope: str | None, usd: float | None) -> Budget | str | None:
    if usd is None:
        return scope
    if scope is None:
        raise ConfigurationError(
            "budget_usd is the limit of a scope, and none is named.", cure="Pass budget, too."
        )
    return Budget(scope=scope, total_usd=Decimal(str(usd)))


async def _plan(
    manifest: Manifest, credentials: FalCredentials | str | None, payer: Budget | str | None
) -> Plan:
    return await make_plan(
        manifest.purchases, credentials=credentials, budget=payer, repeated=manifest.repeated
    )


async def _approve(
    plan: Plan | None,
    above_usd: float | None,
    manifest: Manifest,
    approved_in: UUID | None,
    is_split: bool,
) -> frozenset[str] | None:
    """The names of what may be bought; None: anything. Shards read them in this run's record."""
    if approved_in:
        return await aapproved_in(approved_in)
    if plan is None or above_usd is None:
        return None
    question = question_of(plan, above_usd, manifest.digest)
    await aask_approval(question)
    if is_split:
        await arecord_approved(question)
    return plan.purchases


async def _shard(
    manifest: Manifest, shards: int, deployment: str | None, options: dict[str, Any]
) -> BatchSummary:
    rows = rows_of(manifest.purchases, DEFAULT_MODEL)
    # All of them, for Prefect fills in the deployment's own: its model would be bought, and its
    # number of shards would split each shard again.
    own = {name: each.default for name, each in signature(batch.fn).parameters.items()}
    told = await run_shards(deployment, split_parameters("rows", rows, shards, own | options))
    return add_up([BatchSummary.model_validate(each) for each in told])


app = flow_app("batch")

main = partial(run_flow_app, app)


@app.default
def command(
    *prompts: Annotated[
        str,
        Parameter(
            help="What to show, 1 to 2000 characters each; or one file of rows: CSV, JSON Lines, "
            "JSON, YAML."
        ),
    ],
    file: Annotated[
        str | None, Parameter(help="A file of rows, or a text with a prompt on each line.")
    ] = None,
    file_format: Annotated[
        Format | None,
        Parameter(name="--format", help="How the file is written, where its name does not tell."),
    ] = None,
    model: Annotated[AnyModelName, Parameter(help="For rows that name none.")] = DEFAULT_MODEL,
    budget_usd: Annotated[
        float | None, Parameter(help="The most US dollars that the scope may ever spend.")
    ] = None,
    options: ApprovalOptions = ApprovalOptions(),
) -> int:
    """Make a video of each row, once.

    The exit code is 0 with all videos, 1 without some, 2 for a wrong call.
    """

    def run(credentials: FalCredentials) -> BatchSummary:
        listed, named_file = _named(list(prompts), file)
        fields = {"prompt_optimizer": options.prompt_optimizer}
        defaults = Defaults(model, options.take, fields, slot_take)
        manifest = _read(
            listed, named_file, None, defaults, file_format
        )  # checked before a server is started
        if options.plan:  # which needs no server
            payer = _payer(options.budget, budget_usd)
            plan = asyncio.run(_plan(manifest, credentials, payer))
            return BatchSummary(videos=plan.videos, plan=plan)
        made = batch(
            listed,
            named_file,
            model=model,
            budget_usd=budget_usd,
            prompts_format=file_format,
            **options.parameters(credentials),
        )
        return run_to_summary(made, BatchSummary)

    summary = run_flow_command(options, run, _as_text)
    return 0 if summary and not summary.failed else 1


def _named(words: list[str], file: str | None) -> tuple[list[str] | None, str | None]:
    """The prompts, or the file, that the words of a command name."""
    files = [each for each in words if is_row_file(each)]
    if not files:
        return words or None, file
    if len(words) > 1 or file:
        raise ConfigurationError(
            f"{files[0]!r} is a file of rows, and more is named.", cure="Name one file alone."
        )
    return None, files[0]


def _as_text(summary: BatchSummary) -> str:
    if summary.plan and not summary.done and not summary.failed:
        return summary.plan.text()
    outputs = [each for each in (summary.csv, summary.sheet) if each]
    return "\n".join([f"{summary}.", *summary.places, *outputs, *summary.failures])
