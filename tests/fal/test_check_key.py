"""A key is checked at no cost."""

from __future__ import annotations

import pytest
from raw_server import HTML, HurriedClock, RawServer, access_to, answer

from prefect_hailuo.emulator import EMULATOR_KEY, LOCKED_KEY, FalEmulator, refuse_without_credit
from prefect_hailuo.errors import (
    BadKeyError,
    Billed,
    GenerationTimeoutError,
    MalformedReplyError,
    NoCreditError,
)
from prefect_hailuo.fal.client import AsyncFalClient


async def test_check_key_is_free_and_tells_good_from_bad() -> None:
    """A key is checked without a submission; a bad one and an account that is locked are named."""
    with FalEmulator(clip=b"") as emulator:
        for key in (EMULATOR_KEY, LOCKED_KEY):  # the emulator's locked account may still look
            async with AsyncFalClient(access_to(emulator.url, "emulator", key)) as client:
                await client.check_key()
        async with AsyncFalClient(access_to(emulator.url, "emulator", "id:wrong")) as client:
            with pytest.raises(BadKeyError, match=r"Check the key at.*Money spent: no") as bad:
                await client.check_key()
        emulator.faults.add(refuse_without_credit("status"))
        async with AsyncFalClient(emulator.credentials().access()) as client:
            with pytest.raises(NoCreditError, match="Top up the account"):
                await client.check_key()
        assert (emulator.charged, emulator.stats()["submitted"]) == (0, 0)
    assert bad.value.billed is Billed.NO


async def test_a_page_that_is_not_there_proves_no_key() -> None:
    """A 404 of somebody else's is no praise of the key: the hosts are wrong, and it says so."""
    with RawServer(answer(404, HTML)) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(MalformedReplyError, match="Check that the configured hosts"):
                await client.check_key()


async def test_a_check_in_vain_gives_advice_of_its_own() -> None:
    """There is nothing to collect later: it was only a question."""
    with RawServer(answer(503, HTML)) as server:
        async with AsyncFalClient(server.access(), clock=HurriedClock()) as client:
            with pytest.raises(GenerationTimeoutError, match="Try again later") as caught:
                await client.check_key()
    assert caught.value.billed is Billed.NO
    assert "collect" not in str(caught.value)
