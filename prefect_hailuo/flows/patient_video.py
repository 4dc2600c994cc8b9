"""The flow `patient_video`: one prompt, one video; the run is suspended while fal works.

Serve or deploy it; it needs `prefect-hailuo webhooks` to be resumed at once. As a command it has no
deployment, and waits in its own process:

prefect-hailuo run patient-video "A red fox crosses a snowy field." --emulator
"""

import sys
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from prefect import flow
from prefect.cache_policies import INPUTS, RUN_ID

from prefect_hailuo import (
    FalCredentials,
    Video,
    download_video,
    fetch_video,
    skip_missed_slot,
    slot_take,
    submit_video,
    suspend_for_video,
    wait_for_video,
)
from prefect_hailuo.flows.command import (
    PurchaseOptions,
    TextModelName,
    flow_app,
    refuse_file_names,
    run_flow_app,
    run_flow_command,
    say,
)
from prefect_hailuo.flows.model_names import TextModel
from prefect_hailuo.models.catalogue import find_input_class
from prefect_hailuo.tasks.suspension import check_suspendable

# A run that was resumed goes on with its own ticket. Where that is not to be had, on another
# machine or after a clean-up, the ledger knows it all the same, and nothing is bought twice.
submit = submit_video.with_options(
    persist_result=True, cache_policy=RUN_ID + INPUTS - "credentials"
)


@flow(name="patient-video")
def patient_video(
    prompt: str,
    model: TextModel = "hailuo-2.3-pro",
    prompt_optimizer: bool = True,
    take: int | str = 0,
    storage: str | None = None,
    credentials: FalCredentials | str | None = None,
    budget: str | None = None,
    suspend: bool = True,
    skip_if_late_seconds: float | None = None,
) -> Video:
    """Make a video of a prompt, and let go of the worker meanwhile. **This may spend money.**

    The run submits the prompt and is suspended: its process ends. When fal's call comes, or the
    sweep finds that the video is done, the run is resumed in a new process, which collects it.

    Args:
        prompt: What to show, 1 to 2000 characters.
        model: Which model makes it.
        prompt_optimizer: Whether MiniMax may rewrite the prompt.
        take: Which of several videos of the same prompt; another take is another purchase. In a
            schedule, `{date}` is one for each day, and `{time}` one for each slot.
        storage: A directory, or a storage block as `block:<type>/<name>`; by default, a directory
            in Prefect's home.
        credentials: A saved `FalCredentials` block's name; by default, `FAL_KEY`.
        budget: The name of the scope that pays.
        suspend: Whether to suspend the run, which needs a deployment; otherwise it waits.
        skip_if_late_seconds: How late a scheduled run may still buy; by default, until the next
            slot is due.
    """
    if skipped := skip_missed_slot(skip_if_late_seconds):
        return skipped  # type: ignore[no-any-return]
    if suspend:
        check_suspendable()  # before anything is bought
    kind = find_input_class(model)
    asked = kind(prompt=prompt, **kind.rewriting(prompt_optimizer))
    ticket = submit(asked, credentials=credentials, take=slot_take(take), budget=budget)
    if suspend:
        suspend_for_video(ticket)
    completed = wait_for_video(ticket, credentials=credentials)
    output = fetch_video(ticket, completed, credentials=credentials)
    return download_video(ticket, output, completed, storage=storage)


app = flow_app("patient-video")

main = partial(run_flow_app, app)


@app.default
def command(
    prompt: Annotated[str, Parameter(help="What to show, 1 to 2000 characters.")],
    /,
    *,
    model: Annotated[TextModelName, Parameter(help="Which model makes it.")] = "hailuo-2.3-pro",
    options: PurchaseOptions = PurchaseOptions(),
) -> int:
    """Make a video of a prompt, once; deployed, it is suspended meanwhile.

    The exit code is 0 with a video, 1 without one, 2 for a wrong call.
    """
    say("A command has no deployment to be resumed by: it waits here.", sys.stderr)

    def run(credentials: FalCredentials) -> Video:
        refuse_file_names(prompt)
        find_input_class(model)(prompt=prompt)  # checked before a server is started
        video: Video = patient_video(
            prompt, model=model, suspend=False, **options.parameters(credentials)
        )
        return video

    video = run_flow_command(options, run, lambda video: video.place)
    return 0 if video else 1
