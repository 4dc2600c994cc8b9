"""The plan of a flow: what it would buy, what is there already, and what that costs.

`make_plan` makes it and spends nothing. `aapprove_plan` writes it into the flow run's log, and
above a given cost asks a person before anything is spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from textwrap import shorten
from typing import Any

from anyio.to_thread import run_sync
from prefect.logging import get_run_logger
from prefect.states import Cancelled
from pydantic import BaseModel, ConfigDict, Field

from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.errors import NotApprovedError
from prefect_hailuo.ledger.budgets import Allowance
from prefect_hailuo.models.key import name_of_any_picture
from prefect_hailuo.models.money import dollars, told_usd
from prefect_hailuo.runs.blocks import Budget, Credentials, resolve_budget
from prefect_hailuo.runs.estimate import Estimate, Line, aestimate
from prefect_hailuo.runs.markdown import escape, table
from prefect_hailuo.runs.orders import BatchItem
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.tasks.approval import Question, aask_approval
from prefect_hailuo.ticket import Realm

ZERO = Decimal(0)

MOST_PROMPTS = 5
"""How many prompts a plan shows."""

PROMPT_CHARACTERS = 100


class ModelPlan(BaseModel):
    """A model's part of a plan.

    Args:
        model: Its name.
        videos: How many are wanted.
        there: How many the ledger has stored.
        under_way: How many are being made.
        to_buy: How many would be bought.
        unclear: How many may have been bought: somebody has to decide, or they are looked for.
        failed: How many ended by an error that costs money again, and so is only repeated.
        cost_usd: What those to buy cost, in US dollars, as far as prices are known.
        unpriced: How many of them have no known price.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    videos: int
    there: int
    under_way: int
    to_buy: int
    unclear: int
    failed: int
    cost_usd: Decimal
    unpriced: int


class Limit(BaseModel):
    """A limit of the scope that pays.

    Args:
        period: `day`, `month` (both UTC) or `total`.
        limit_usd: The limit, in US dollars.
        left_usd: What may still be spent.
    """

    model_config = ConfigDict(frozen=True)

    period: str
    limit_usd: Decimal
    left_usd: Decimal


class Plan(BaseModel):
    """What a batch would buy, were it run now.

    Args:
        realm: `fal`, or `emulator`, which charges nothing of all this.
        models: Each model's part.
        repeated: How many rows ask for a video that another row asks for.
        scope: Whose budget it is on.
        limits: The scope's limits.
        notes: Remarks about the prices.
        prompts: The first prompts, shortened, so that a person sees whether they are as meant.
        purchases: The names of those to buy, for `buying_only`.
    """

    model_config = ConfigDict(frozen=True)

    realm: Realm
    models: tuple[ModelPlan, ...] = ()
    repeated: int = 0
    scope: str = "default"
    limits: tuple[Limit, ...] = ()
    notes: tuple[str, ...] = Field(default=())
    prompts: tuple[str, ...] = ()
    purchases: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        # What an earlier release pickled has no prompts.
        super().__setstate__({**state, "__dict__": {"prompts": (), **state["__dict__"]}})

    @property
    def videos(self) -> int:
        """How many videos are wanted."""
        return sum(each.videos for each in self.models)

    @property
    def to_buy(self) -> int:
        """How many would be bought."""
        return sum(each.to_buy for each in self.models)

    @property
    def cost_usd(self) -> Decimal:
        """What they cost, in US dollars, as far as prices are known."""
        return sum((each.cost_usd for each in self.models), ZERO)

    @property
    def unpriced(self) -> int:
        """How many of them have no known price."""
        return sum(each.unpriced for each in self.models)

    @property
    def beyond(self) -> Limit | None:
        """The tightest limit that the plan exceeds; None if the budget allows all of it."""
        passed = [each for each in self.limits if each.left_usd < self.cost_usd]
        return min(passed, key=lambda each: each.left_usd, default=None)

    def __str__(self) -> str:
        money = told_usd(self.cost_usd, self.realm, self.unpriced)
        return f"{self.to_buy:,} of {self.videos:,} to buy, for {money}"

    def lines(self) -> list[str]:
        """The plan in sentences."""
        said = [f"{self}."]
        if self.repeated:
            said.append(f"Rows that repeat another: {self.repeated:,}; they are made once.")
        if beyond := self.beyond:
            said.append(
                f"The budget {self.scope!r} has {dollars(beyond.left_usd)} left of "
                f"{dollars(beyond.limit_usd)} ({beyond.period}): what passes it is not "
                "bought, and fails at no cost."
            )
        elif self.limits:
            least = min(self.limits, key=lambda each: each.left_usd)
            said.append(
                f"The budget {self.scope!r} has {dollars(least.left_usd)} of "
                f"{dollars(least.limit_usd)} ({least.period}) left, which is enough."
            )
        else:
            said.append(f"The budget {self.scope!r} has no limit.")
        return [*said, *self.notes]

    def markdown(self) -> str:
        """The plan as a page of Markdown, for Prefect's UI."""
        first = [f"> {number}. {escape(each)}" for number, each in enumerate(self.prompts, 1)]
        more = [f"> and {self.more:,} more"] if first and self.more else []
        page = [*(f"{each}\n" for each in self.lines()), self.table()]
        return "\n".join([*page, "", *first, *more])

    def text(self) -> str:
        """The plan as lines for a terminal."""
        first = [f"  {number}. {each!r}" for number, each in enumerate(self.prompts, 1)]
        more = [f"  and {self.more:,} more"] if first and self.more else []
        models = (f"  {_in_words(each)}" for each in self.models)
        return "\n".join([*self.lines(), *models, *first, *more])

    @property
    def more(self) -> int:
        """How many videos are wanted besides those whose prompts are shown."""
        return self.videos - len(self.prompts)

    def table(self) -> str:
        """Each model's part, as a table of Markdown."""
        head = ["Model", "Videos", "There", "Under way", "Unclear", "Failed", "To buy", "Cost"]
        return table(head, map(_model_row, self.models))


async def make_plan(
    items: Iterable[BatchItem],
    *,
    credentials: Credentials = None,
    budget: Budget | str | None = None,
    repeated: int = 0,
    makes_pictures: bool = False,
) -> Plan:
    """What a batch would buy, were it run now. It spends nothing.

    Args:
        items: What is wanted, each once.
        credentials: Whose ledger is asked: a block, or a saved block's name.
        budget: The budget that pays, or its scope's name.
        repeated: How many rows asked for one of them again.
        makes_pictures: Whether their pictures are made on the way, so that its `purchases` are of
            whatever pictures these will be.

    Raises:
        ConfigurationError: The credentials cannot be used.
        LedgerError: The ledger cannot be read.

    Example:
        >>> import asyncio
        >>> from prefect_hailuo import BatchItem, Hailuo02ProTextToVideo
        >>> owl = BatchItem(input=Hailuo02ProTextToVideo(prompt="An owl."))
        >>> print(asyncio.run(make_plan([owl])))
        1 of 1 to buy, for nothing (at fal, about $0.48)
    """
    wanted = [(each.input, each.take or 0) for each in items]
    estimate = await aestimate(wanted, credentials=credentials)
    budget = await run_sync(resolve_budget, budget, estimate.realm)
    scope = budget.scope if isinstance(budget, Budget) else budget
    scope = scope or (await run_sync(current_settings)).budget_scope
    return Plan(
        realm=estimate.realm,
        models=tuple(_parts(estimate)),
        repeated=repeated,
        scope=scope,
        limits=tuple(await _limits(estimate.realm, scope, budget)),
        notes=estimate.notes,
        prompts=tuple(_short(each.prompt) for each, _ in wanted[:MOST_PROMPTS]),
        purchases=_of_any_pictures(estimate) if makes_pictures else estimate.purchases,
    )


def _short(prompt: str) -> str:
    return shorten(prompt, PROMPT_CHARACTERS, placeholder="…")


def _of_any_pictures(estimate: Estimate) -> frozenset[str]:
    return frozenset(
        name_of_any_picture(line.input.request(), estimate.realm, line.take)
        for line in estimate.lines
        if line.cost_usd != 0
    )


def _parts(estimate: Estimate) -> list[ModelPlan]:
    by_model: dict[str, list[Line]] = {}
    for line in estimate.lines:
        by_model.setdefault(line.input.endpoint.name, []).append(line)
    return [_part(model, lines) for model, lines in by_model.items()]


def _part(model: str, lines: Sequence[Line]) -> ModelPlan:
    states = Counter(each.state for each in lines)
    return ModelPlan(
        model=model,
        videos=len(lines),
        there=states["stored"],
        under_way=states["under way"],
        to_buy=states["new"],
        unclear=states["unclear"],
        failed=states["failed"],
        cost_usd=sum((each.cost_usd or ZERO for each in lines), ZERO),
        unpriced=sum(each.cost_usd is None for each in lines),
    )


async def _limits(realm: Realm, scope: str, budget: Budget | str | None) -> list[Limit]:
    known = await _allowances(realm, scope)
    if not known and isinstance(budget, Budget):  # it becomes the scope's with the first purchase
        given = {"day": budget.per_day_usd, "month": budget.per_month_usd}
        given["total"] = budget.total_usd
        known = [Allowance(name, usd, ZERO) for name, usd in given.items() if usd is not None]
    return [
        Limit(period=each.period, limit_usd=each.limit_usd, left_usd=each.left_usd)
        for each in known
    ]


async def _allowances(realm: Realm, scope: str) -> list[Allowance]:
    address = (await run_sync(current_settings)).ledger_of(realm)

    async def job(connections: Connections, emit: Emit) -> list[Allowance]:
        return await connections.ledgers.at(address).budgets.allowances(realm, scope)

    return await process_loop().arun(job)


def _in_words(part: ModelPlan) -> str:
    told = [("there", part.there), ("under way", part.under_way), ("unclear", part.unclear)]
    told += [("failed", part.failed), ("to buy", part.to_buy)]
    counts = ", ".join(f"{number:,} {name}" for name, number in told if number)
    return f"{part.model}: {counts}; at fal {told_usd(part.cost_usd, 'fal', part.unpriced)}"


def _model_row(part: ModelPlan) -> list[str]:
    numbers = [part.videos, part.there, part.under_way, part.unclear, part.failed, part.to_buy]
    unpriced = f" and {part.unpriced:,} unknown" if part.unpriced else ""
    return [part.model, *(f"{each:,}" for each in numbers), dollars(part.cost_usd) + unpriced]


async def aapprove_plan(
    items: Sequence[BatchItem],
    *,
    credentials: Credentials = None,
    budget: str | None = None,
    approve_above_usd: float | None = None,
    makes_pictures: bool = False,
) -> frozenset[str] | None:
    """Log what would be bought, and have it approved by a person if it costs more than a bound.

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
        NotApprovedError: Nobody approved it; nothing was bought.
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
        above_usd: A person is asked above this cost, in US dollars.
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
    """The state of a flow whose cost nobody approved: Cancelled, because nothing went wrong."""
    return Cancelled(message=f"{error.message} {error.cure}", data=error)
