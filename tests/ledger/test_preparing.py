"""A claim of a body that is not ready yet: nothing is written that costs, until it is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from ledger_ground import attempts_of, decided, ledger_at, purchase, stored
from picture_ground import Shot

from prefect_hailuo.errors import BudgetError
from prefect_hailuo.ledger.attempt import Limits, Purchase, digest_of
from prefect_hailuo.models.image import data_uri, identity_of, upload_name
from prefect_hailuo.models.key import generation_key

ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
INLINE = data_uri(b"abc", "image/png")
UPLOADED = "https://v3.fal.media/files/lion/Xy_" + upload_name(ABC[7:], "image/png")


def unready(**terms: Any) -> Purchase:
    """A purchase whose picture was not brought to fal."""
    return replace(purchase(**terms), is_ready=False)


async def test_what_is_to_be_bought_is_prepared_first(each_ledger: str) -> None:
    """No intent is written before the body is ready; then it is bought as any other."""
    async with ledger_at(each_ledger) as ledger:
        assert await decided(ledger, unready()) == "Prepare"
        assert attempts_of(each_ledger) == []
        assert await decided(ledger, purchase()) == "Buy"
        assert await decided(ledger, unready(waiter="another")) == "Wait"


async def test_what_is_stored_needs_no_body(each_ledger: str) -> None:
    """A reuse asks for nothing to be prepared."""
    async with ledger_at(each_ledger) as ledger:
        await stored(ledger, purchase())
        assert await decided(ledger, unready()) == "Reuse"


async def test_what_the_budget_forbids_is_not_prepared(each_ledger: str) -> None:
    """Its refusal comes first; and what was only prepared for reserved nothing."""
    async with ledger_at(each_ledger) as ledger:
        poor = Limits(total_usd=Decimal("0.10"))
        with pytest.raises(BudgetError):
            await ledger.claims.claim(unready(limits=poor))
        enough = Limits(total_usd=Decimal("0.50"))
        for _ in range(3):
            assert await decided(ledger, unready(limits=enough)) == "Prepare"
        assert await decided(ledger, purchase(limits=enough)) == "Buy"


def test_a_picture_is_the_same_however_it_is_sent() -> None:
    """Inline, uploaded, uploaded once more: one body in fal's history, one key."""
    bodies = [{"prompt": "It moves.", "image_url": each} for each in (INLINE, UPLOADED, ABC)]
    assert len({digest_of(body) for body in bodies}) == 1
    keys = {generation_key(Shot.model_validate(body), realm="fal") for body in bodies}
    assert keys == {"b8195488d525869fb434a492615a3da9c4a7ef81581ecc26d637a7f0ee9fc4a9"}
    assert identity_of("https://example.com/fox.png") == "https://example.com/fox.png"
