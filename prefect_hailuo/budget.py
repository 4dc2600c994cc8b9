"""Budgets: what may be spent, for a named scope, by everybody who uses the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, model_validator
from typing_extensions import Self

from prefect_hailuo.blocks import LOGO_URL
from prefect_hailuo.connections import Connections, Emit, Job
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.wishes import Limits
from prefect_hailuo.loop import process_loop
from prefect_hailuo.settings import current_settings

if TYPE_CHECKING:
    from prefect_hailuo.ledger.budgets import Allowance

DOCUMENTATION_URL = "https://docs.fal.ai"


class Budget(Block):
    """What a scope may spend on videos, in US dollars, by all workers together.

    The limit lives in the ledger, with its scope: `apply` sets it, for everybody. Passed to a
    task, it names the scope that pays; if that has no limit yet, this becomes its limit, and if
    it has another, the task refuses to buy.

    Attributes:
        scope: The name that purchases are counted under.
        per_day_usd: The most in a day, UTC.
        per_month_usd: The most in a calendar month, UTC.
        total_usd: The most in all.

    Raises:
        pydantic.ValidationError: There is no limit at all, or one that is negative.

    Example:
        Load a stored budget and pay from it:
        ```python
        from prefect_hailuo import Budget, hailuo_23_pro_text_to_video

        budget = Budget.load("BLOCK_NAME")
        video = hailuo_23_pro_text_to_video("A red fox.", budget=budget)
        ```
    """

    _block_type_name = "Hailuo Budget"
    _block_type_slug = "hailuo-budget"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl(DOCUMENTATION_URL)

    scope: str = Field(min_length=1, description="The name that purchases are counted under.")
    per_day_usd: Decimal | None = Field(
        default=None, ge=0, decimal_places=6, description="The most in a day, UTC, in US dollars."
    )
    per_month_usd: Decimal | None = Field(
        default=None,
        ge=0,
        decimal_places=6,
        description="The most in a calendar month, UTC, in US dollars.",
    )
    total_usd: Decimal | None = Field(
        default=None, ge=0, decimal_places=6, description="The most in all, in US dollars."
    )

    @model_validator(mode="after")
    def _check_limited(self) -> Self:
        if self.limits() == Limits():
            raise ValueError("a budget needs per_day_usd, per_month_usd or total_usd")
        return self

    def limits(self) -> Limits:
        """The limits, as the ledger takes them."""
        return Limits(self.per_day_usd, self.per_month_usd, self.total_usd)

    def apply(self, realm: Realm = "fal") -> None:
        """Make this the scope's limit, whatever it was.

        Args:
            realm: Whose purchases it limits: fal's, or an emulator's, which spend nothing.

        Raises:
            LedgerError: The ledger cannot be used.

        Example:
            >>> trailer = Budget(scope="trailer", per_day_usd="4.90")
            >>> trailer.apply("emulator"); trailer.left("emulator")
            {'day': Decimal('4.9')}
        """
        process_loop().run(self._applying(realm))

    async def aapply(self, realm: Realm = "fal") -> None:
        """The asynchronous twin of `apply`."""
        await process_loop().arun(self._applying(realm))

    def left(self, realm: Realm = "fal") -> dict[str, Decimal]:
        """What is left of each limit that the scope has in the ledger, by its period.

        Raises:
            LedgerError: The ledger cannot be used.
        """
        return _left(process_loop().run(self._asking(realm)))

    async def aleft(self, realm: Realm = "fal") -> dict[str, Decimal]:
        """The asynchronous twin of `left`."""
        return _left(await process_loop().arun(self._asking(realm)))

    def _applying(self, realm: Realm) -> Job[None]:
        address = current_settings().ledger_of(realm)

        async def job(connections: Connections, emit: Emit) -> None:
            budgets = connections.ledgers.at(address).budgets
            await budgets.put(realm, self.scope, self.limits())

        return job

    def _asking(self, realm: Realm) -> Job[list[Allowance]]:
        address = current_settings().ledger_of(realm)

        async def job(connections: Connections, emit: Emit) -> list[Allowance]:
            return await connections.ledgers.at(address).budgets.allowances(realm, self.scope)

        return job


def _left(allowances: list[Allowance]) -> dict[str, Decimal]:
    return {allowance.period: allowance.left_usd for allowance in allowances}
