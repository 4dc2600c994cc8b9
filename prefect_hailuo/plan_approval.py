"""What a flow says of its cost before it spends anything, and whose word it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from prefect.logging import get_run_logger
from prefect.states import Cancelled

from prefect_hailuo.approval import Question, aask_approval
from prefect_hailuo.blocks import Credentials
from prefect_hailuo.catalogue import BatchItem
from prefect_hailuo.errors import NotApprovedError
from prefect_hailuo.plan import Plan, make_plan


async def aapprove_plan(
    items: Sequence[BatchItem],
    *,
    credentials: Credentials = None,
    budget: str | None = None,
    approve_above_usd: float | None = None,
    makes_pictures: bool = False,
) -> frozenset[str] | None:
    """Say in the flow run's log what would be bought, and have it approved where it costs much.

    Returns:
        The names of what may be bought, for `buying_only`; None, for anything, where no cost has
        to be approved.

    Args:
        items: What is wanted.
        credentials: Whose ledger is asked.
        budget: The name of the scope that pays.
        approve_above_usd: Above this cost, in US dollars, the flow run pauses until a person chose
            to buy, in Prefect's UI; None: never.
        makes_pictures: Whether the flow run makes the pictures that some of it goes on from: then
            a yes is to whatever pictures these will be.

    Raises:
        NotApprovedError: Nobody did; nothing was bought.
    """
    plan = await make_plan(
        items, credentials=credentials, budget=budget, makes_pictures=makes_pictures
    )
    for line in plan.lines():
        get_run_logger().info("%s", line)
    if approve_above_usd is None:
        return None
    subject = "\n".join(each.model_dump_json() for each in items)
    await aask_approval(question_of(plan, approve_above_usd, subject))
    return plan.purchases


def question_of(plan: Plan, above_usd: float, subject: str) -> Question:
    """What a person is asked about a plan.

    Args:
        plan: The plan.
        above_usd: Up to which cost nobody is asked, in US dollars.
        subject: Tells it from other questions of the same flow run.
    """
    return Question(
        cost_usd=plan.cost_usd,
        unpriced=plan.unpriced,
        above_usd=Decimal(str(above_usd)),
        plan=plan.markdown(),
        subject=subject,
        purchases=plan.purchases,
    )


def not_approved(error: NotApprovedError) -> Any:
    """The state that a flow returns for what nobody approved: Cancelled, for nothing went wrong."""
    return Cancelled(message=f"{error.message} {error.cure}", data=error)
