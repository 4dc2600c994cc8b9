"""A person's approval before money is spent: the flow run pauses and asks, in Prefect's UI.

The run waits in its process, and keeps its worker's slot. The person who resumes it sees the plan
and chooses. The answer holds for that flow run, also when it is started once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from prefect.client.base import ServerType, determine_server_type
from prefect.client.schemas.objects import FlowRun, FlowRunInput
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import apause_flow_run, pause_flow_run
from prefect.input import RunInput
from prefect.input.actions import (
    acreate_flow_run_input,
    afilter_flow_run_input,
    create_flow_run_input,
    filter_flow_run_input,
)
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from prefect_hailuo.errors import ConfigurationError, NotApprovedError
from prefect_hailuo.models.money import dollars
from prefect_hailuo.runs.settings import synchronously

DAY_SECONDS = 86400
"""How long a run waits for a person by default."""

POLL_SECONDS = 5
"""How often Prefect is asked whether somebody answered."""

RECORD = "hailuo-approved"
"""How the keys of a flow run's inputs begin that tell what was approved."""

MOST_ANSWERS = 100

Answer = Literal["buy", "do not buy"]


class Approval(RunInput):
    """What the form in Prefect's UI asks for.

    Args:
        answer: Whether to spend the money.
    """

    answer: Answer = Field(description="Whether to buy it. Nothing was spent until now.")


class Question(BaseModel):
    """What a person is asked.

    Args:
        cost_usd: What it costs, in US dollars.
        unpriced: How many of it have no known price, besides.
        above_usd: A person is asked above this cost.
        plan: What would be bought, in Markdown.
        subject: Tells it from other questions of the same flow run.
        purchases: The names of all that would be bought, if it is known: then a yes is to these
            alone, and not to others of the same cost.

    Example:
        >>> print(Question(cost_usd="9.80", above_usd=5, plan="20 clips", subject="clips").sentence)
        It would cost about $9.80 at fal, and above $5.00 a person has to approve.
    """

    cost_usd: Decimal
    unpriced: int = 0
    above_usd: Decimal
    plan: str
    subject: str
    purchases: frozenset[str] = frozenset()

    @property
    def is_due(self) -> bool:
        """Whether a person has to be asked: the cost exceeds the bound, or is not known."""
        return self.cost_usd > self.above_usd or self.unpriced > 0

    @property
    def digest(self) -> str:
        """A short name of the subject."""
        return hashlib.sha256(self.subject.encode()).hexdigest()[:16]

    @property
    def price(self) -> str:
        """A short name of the cost, and of what it is for: Prefect takes letters, digits and dashes
        in keys."""
        said = " ".join([str(self.cost_usd), str(self.unpriced), *sorted(self.purchases)])
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    @property
    def record(self) -> str:
        """How the keys of this flow run's inputs begin that tell what was approved of it."""
        return f"{RECORD}-{self.digest}"

    @property
    def sentence(self) -> str:
        """The cost, and the bound, in a sentence."""
        unpriced = f", and {self.unpriced:,} of unknown price" if self.unpriced else ""
        return (
            f"It would cost about {dollars(self.cost_usd)}{unpriced} at fal, and above "
            f"{dollars(self.above_usd)} a person has to approve."
        )

    def text(self) -> str:
        """What the form says, in Markdown."""
        return f"**{self.sentence}** Nothing was spent until now.\n\n{self.plan}"


def ask_approval(question: Question, within_seconds: int = DAY_SECONDS) -> None:
    """Pause the flow run until a person has said whether to spend money. It spends nothing.

    It returns at once if the cost is within the bound, or if as much was approved in this flow run
    before. Otherwise the run is Paused, and a person resumes it in Prefect's UI, where a form
    shows the plan and asks.

    Args:
        question: What is asked.
        within_seconds: How long to wait for an answer.

    Raises:
        NotApprovedError: A person said no, or nobody said anything in time; or there is no UI in
            which anybody could, as with the temporary server of a command.
        ConfigurationError: It is not called in a flow run.

    Example:
        >>> question = Question(cost_usd="3.00", above_usd="5.00", plan="6 clips", subject="clips")
        >>> ask_approval(question)  # within the bound: nobody is asked
    """
    if not question.is_due:
        return
    run = _flow_run()
    known = synchronously(filter_flow_run_input, question.record, MOST_ANSWERS, None, run.id)
    if not _must_ask(question, known):
        return
    pausing = _pausing(question, run, within_seconds)
    try:
        answer = synchronously(pause_flow_run, **pausing)
    except FlowPauseTimeout as error:
        raise _unanswered(question, within_seconds) from error
    _check(question, answer)
    synchronously(create_flow_run_input, _record_key(question, run), _record(question), run.id)


async def aask_approval(question: Question, within_seconds: int = DAY_SECONDS) -> None:
    """The asynchronous twin of `ask_approval`."""
    if not question.is_due:
        return
    run = _flow_run()
    known = await afilter_flow_run_input(
        key_prefix=question.record, limit=MOST_ANSWERS, flow_run_id=run.id
    )
    if not _must_ask(question, known):
        return
    pausing = _pausing(question, run, within_seconds)
    try:
        answer = await apause_flow_run(**pausing)
    except FlowPauseTimeout as error:
        raise _unanswered(question, within_seconds) from error
    _check(question, answer)
    await acreate_flow_run_input(
        key=_record_key(question, run), value=_record(question), flow_run_id=run.id
    )


async def arecord_approved(question: Question) -> None:
    """Record what this flow run may buy, for other runs to read with `aapproved_in`.

    A person need not have been asked: what costs no more than the bound is approved by it.

    Args:
        question: What was, or would have been, asked.

    Raises:
        ConfigurationError: It is not called in a flow run.
    """
    run = _flow_run()
    known: Any = await afilter_flow_run_input(
        key_prefix=question.record, limit=MOST_ANSWERS, flow_run_id=run.id
    )
    if question.purchases <= _named_in([each.decoded_value for each in known]):
        return
    await acreate_flow_run_input(
        key=_record_key(question, run), value=_record(question), flow_run_id=run.id
    )


async def aapproved_in(flow_run_id: UUID) -> frozenset[str]:
    """The names of all purchases that were approved in a flow run; none where no record is."""
    records: Any = await afilter_flow_run_input(
        key_prefix=RECORD, limit=MOST_ANSWERS, flow_run_id=flow_run_id
    )
    return _named_in([each.decoded_value for each in records])


def _flow_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError(
            "Only a flow run can pause to ask for approval.", cure="Call it in a flow."
        )
    return context.flow_run


def _must_ask(question: Question, known: Sequence[FlowRunInput]) -> bool:
    """Whether a person has to be asked: this flow run has no approval that covers it yet."""
    if _is_approved(question, [each.decoded_value for each in known]):
        return False
    if determine_server_type() in (ServerType.EPHEMERAL, ServerType.UNCONFIGURED):
        raise _refusal(question, "Nobody could be asked, because this run has no UI.")
    get_run_logger().info(
        "%s Waiting for a person to resume this run, in Prefect's UI.", question.sentence
    )
    return True


def _is_approved(question: Question, records: Sequence[Any]) -> bool:
    """Whether what was approved before covers it."""
    if question.purchases:
        return question.purchases <= _named_in(records)
    costs = [Decimal(str(each)) for each in records if not isinstance(each, list)]
    return not question.unpriced and any(question.cost_usd <= each for each in costs)


def _named_in(records: Sequence[Any]) -> frozenset[str]:
    return frozenset(name for each in records if isinstance(each, list) for name in each)


def _pausing(question: Question, run: FlowRun, within_seconds: int) -> dict[str, Any]:
    """How to pause. Prefect pauses once a key, and gives the same answer to it from then on: a run
    that died while it asked has to ask again, and a yes to one price is not a yes to another."""
    return {
        "wait_for_input": Approval.with_initial_data(description=question.text()),
        "timeout": within_seconds,
        "poll_interval": POLL_SECONDS,
        "key": f"{question.digest}-{question.price}-{run.run_count}",
    }


def _check(question: Question, answer: Approval | None) -> None:
    if answer is None or answer.answer != "buy":
        raise _refusal(question, "A person answered: do not buy.")


def _record_key(question: Question, run: FlowRun) -> str:
    return f"{question.record}-{question.price}-{run.run_count}"


def _record(question: Question) -> str | list[str]:
    return sorted(question.purchases) or str(question.cost_usd)


def _unanswered(question: Question, within_seconds: int) -> NotApprovedError:
    return _refusal(question, f"Nobody answered within {within_seconds:,} s.")


def _refusal(question: Question, why: str) -> NotApprovedError:
    return NotApprovedError(f"Not approved, and nothing was bought. {question.sentence} {why}")
