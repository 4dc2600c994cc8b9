"""The flow `storyboard`: scenes in order, each a video, and one clip of them all.

prefect-hailuo run storyboard "A fox wakes." "It crosses a snowy field." --emulator
prefect-hailuo run storyboard --file scenes.json --emulator
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from anyio.to_thread import run_sync
from cyclopts import Parameter
from prefect import flow, get_run_logger
from pydantic import Field, TypeAdapter, ValidationError

from prefect_hailuo import FalCredentials, ajoin_videos, askip_missed_slot, slot_take
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
from prefect_hailuo.flows.model_names import TextModel
from prefect_hailuo.flows.plan import Plan, aapprove_plan, make_plan, not_approved
from prefect_hailuo.flows.report import ending, failed_state
from prefect_hailuo.flows.scenes import Scene, Script, Shooting, Storyboard, publish_storyboard
from prefect_hailuo.media.probe import require_media

Scenes = Annotated[list[str | Scene], Field(min_length=1)]


@flow(name="storyboard")
async def storyboard(
    scenes: Scenes,
    title: str = "Storyboard",
    model: TextModel = "hailuo-2.3-pro",
    prompt_optimizer: bool = True,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    approve_above_usd: Annotated[float | None, Field(ge=0)] = None,
    skip_if_late_seconds: float | None = None,
) -> Storyboard:
    """Make a video of each scene, and one clip of them all. **This may spend money, for each.**

    Scenes that stand alone are made at once; one that continues waits for the one before, and goes
    on from its last picture. The clip is joined without coding anew where all scenes come from
    models of the same picture. Run it again as it is, whatever happened: what was bought is found
    in the ledger, and it goes on from there.

    Args:
        scenes: The scenes, in order: each a prompt; or a prompt with a model, a duration, a take,
            and whether it continues the scene before, from its last picture.
        title: What the clip is called; its file's name begins with it.
        model: The model of scenes that name none.
        prompt_optimizer: Whether MiniMax may rewrite prompts, where a scene does not say.
        take: Which of several videos of the same prompts, for scenes that do not say; another take
            is another purchase. In a schedule, `{date}` is one for each day, and `{time}` one for
            each slot.
        storage: A directory, or a storage block as `block:<type>/<name>`, for the videos and the
            clip; by default, a directory in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY`.
        budget: The name of the scope that pays.
        approve_above_usd: Above this cost, in US dollars, the run pauses before anything is spent,
            until a person resumes it in Prefect's UI and chooses to buy.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.

    Raises:
        ConfigurationError: Something is missing or cannot be used; the message says which scene.
            Nothing was bought.
        NotApprovedError: Nobody approved the cost; the run is Cancelled, and nothing was bought.
        BatchError: Some scenes failed; the message names them. The others are kept, there is no
            clip, and a rerun goes on.
    """
    if skipped := await askip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    require_media()
    take = slot_take(take)
    script = Script(scenes, model=model, prompt_optimizer=prompt_optimizer, take=take)
    shooting = Shooting(script, {"storage": storage, "credentials": credentials, "budget": budget})
    await shooting.find()
    get_run_logger().info("%s scenes, %s there.", len(script), len(shooting.outcomes))
    approved = None
    try:
        if rest := shooting.rest():
            approved = await aapprove_plan(
                rest,
                credentials=credentials,
                budget=budget,
                approve_above_usd=approve_above_usd,
                makes_pictures=True,
            )
    except NotApprovedError as error:
        return not_approved(error)  # type: ignore[no-any-return]
    with buying_only(approved):
        await shooting.make()
    try:
        videos = shooting.videos()
    except BatchError as error:
        done, failed = len(shooting.outcomes), len(shooting.errors)
        return failed_state(ending(done, len(script), failed), error)  # type: ignore[no-any-return]
    clip = await ajoin_videos(videos, storage=storage, name=title)
    board = Storyboard(title=title, videos=videos, clip=clip)
    await run_sync(publish_storyboard, board, storage)
    return board


app = flow_app("storyboard")

main = partial(run_flow_app, app)


@app.default
def command(
    *prompts: Annotated[str, Parameter(help="The scenes, in order: what to show.")],
    file: Annotated[
        Path | None,
        Parameter(help='A JSON list instead: "..." or {"prompt": "...", "continues": true, ...}.'),
    ] = None,
    continues: Annotated[
        bool,
        Parameter(
            help="Each scene goes on from the last picture of the one before.",
            negative="",
            show_default=False,
        ),
    ] = False,
    title: Annotated[str, Parameter(help="The clip's file name begins with it.")] = "Storyboard",
    model: Annotated[
        TextModelName, Parameter(help="For scenes that name none.")
    ] = "hailuo-2.3-pro",
    options: ApprovalOptions = ApprovalOptions(),
) -> int:
    """Make a video of each scene, once, and one clip of them all.

    The exit code is 0 with a clip, 1 without one, 2 for a wrong call.
    """

    def run(credentials: FalCredentials) -> Storyboard | Plan:
        refuse_file_names(*prompts)
        scenes = _scenes(prompts, file, continues)
        script = Script(
            scenes, model=model, prompt_optimizer=options.prompt_optimizer, take=options.take
        )  # checked before a server is started
        if options.plan:  # which needs none; what goes on from a scene counts as not there yet
            items = [script.expected(index) for index in range(len(script))]
            return asyncio.run(make_plan(items, credentials=credentials, budget=options.budget))
        made = storyboard(scenes, title, model=model, **options.parameters(credentials))
        return run_to_summary(made, Storyboard)

    return 0 if run_flow_command(options, run, _as_text) else 1


def _as_text(board: Storyboard | Plan) -> str:
    if isinstance(board, Plan):
        return board.text()
    return board.clip.place


def _scenes(prompts: Sequence[str], file: Path | None, continues: bool) -> list[str | Scene]:
    if bool(prompts) is (file is not None):
        raise ConfigurationError(
            "The scenes come either as prompts or as a file.", cure="Pass one of them."
        )
    if file is None:
        return [Scene(prompt=each, continues=n > 0 and continues) for n, each in enumerate(prompts)]
    try:
        return TypeAdapter(Scenes).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"The scenes cannot be read from {file}: {error}",
            cure='Pass a JSON file such as ["A fox.", {"prompt": "It runs.", "continues": true}].',
        ) from error
