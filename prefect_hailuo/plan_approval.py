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
) -> Plan:
    """Say in the flow run's log what would be bought, and have it approved where it costs much.

    Args:
        items: What is wanted.
        credentials: Whose ledger is asked.
        budget: The name of the scope that pays.
        approve_above_usd: Above this cost, in US dollars, the flow run pauses until a person chose
            to buy, in Prefect's UI; None: never.

    Raises:
        NotApprovedError: Nobody did; nothing was bought.
    """
    plan = await make_plan(items, credentials=credentials, budget=budget)
    for line in plan.lines():
        get_run_logger().info("%s", line)
    if approve_above_usd is not None:
        await aask_approval(
            Question(
                cost_usd=plan.cost_usd,
                unpriced=plan.unpriced,
                above_usd=Decimal(str(approve_above_usd)),
                plan=plan.markdown(),
                subject="\n".join(each.model_dump_json() for each in items),
            )
        )
    return plan


def not_approved(error: NotApprovedError) -> Any:
    """The state that a flow returns for what nobody approved: Cancelled, for nothing went wrong."""
    return Cancelled(message=f"{error.message} {error.cure}", data=error)
