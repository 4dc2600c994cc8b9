"""A flow run that pauses and asks a person before it spends, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

import pytest
from deployments import until
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from prefect_hailuo.errors import ConfigurationError, NotApprovedError
from prefect_hailuo.tasks import approval
from prefect_hailuo.tasks.approval import Question, aask_approval, ask_approval

DEAR = Question(
    cost_usd=Decimal("9.80"), above_usd=Decimal(5), plan="| 20 | clips |", subject="clips"
)


@pytest.fixture(autouse=True)
def quickly(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect is asked often whether somebody answered."""
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.2)


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """Prefect's API, as its UI has it."""
    with get_client(sync_client=True) as found:
        yield found


def paused(client: SyncPrefectClient, runs: list[str]) -> FlowRun:
    """The flow run, when it waits for an answer and the form for it is there."""
    until("it is paused", lambda: runs and _form(client, UUID(runs[-1])) is not None)
    return client.read_flow_run(UUID(runs[-1]))


def _form(client: SyncPrefectClient, run_id: UUID) -> str | None:
    state = client.read_flow_run(run_id).state
    if state is None or not state.is_paused() or not state.state_details.run_input_keyset:
        return None
    key = state.state_details.run_input_keyset["description"]
    found = client.request(
        "POST",
        "/flow_runs/{id}/input/filter",
        path_params={"id": run_id},
        json={"prefix": key, "limit": 1},
    )
    return str(found.json()[0]["value"]) if found.json() else None


def asking(runs: list[str]) -> str:
    """A flow that asks twice for the same."""

    @flow
    def spend() -> str:
        runs.append(str(flow_run.id))
        ask_approval(DEAR, 60)
        ask_approval(DEAR, 60)
        return "bought"

    return spend()


def test_a_person_is_shown_the_plan_and_chooses(client: SyncPrefectClient) -> None:
    """Resuming without an answer is refused; what was approved once is not asked again."""
    runs: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(asking, runs)
        run = paused(client, runs)
        shown = _form(client, run.id)
        refused = client.resume_flow_run(run.id)
        accepted = client.resume_flow_run(run.id, run_input={"answer": "buy"})
        assert ending.result(60) == "bought"
    assert shown is not None
    assert "$9.80" in shown
    assert "| 20 | clips |" in shown
    assert (refused.status.value, accepted.status.value) == ("REJECT", "ACCEPT")


def test_no_means_no(client: SyncPrefectClient) -> None:
    """The error says that nothing was bought, and how to approve."""
    runs: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(asking, runs)
        client.resume_flow_run(paused(client, runs).id, run_input={"answer": "do not buy"})
        with pytest.raises(NotApprovedError, match=r"nothing was bought.*\$9.80"):
            ending.result(60)


def test_a_yes_to_a_price_is_none_to_a_higher_one(client: SyncPrefectClient) -> None:
    """The same run, asking for the same at twice the price, pauses anew, and is told no."""
    runs: list[str] = []

    @flow
    def spend() -> None:
        runs.append(str(flow_run.id))
        ask_approval(DEAR, 60)
        ask_approval(DEAR.model_copy(update={"cost_usd": Decimal("19.60")}), 60)

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(spend)
        client.resume_flow_run(paused(client, runs).id, run_input={"answer": "buy"})
        until("it asks again", lambda: "$19.60" in (_form(client, UUID(runs[-1])) or ""))
        client.resume_flow_run(UUID(runs[-1]), run_input={"answer": "do not buy"})
        with pytest.raises(NotApprovedError, match=r"\$19.60"):
            ending.result(60)


def test_a_yes_to_some_purchases_is_none_to_others(client: SyncPrefectClient) -> None:
    """The same run, asking for the same sum: fewer of them need no question, others do."""
    runs: list[str] = []
    shown = DEAR.model_copy(update={"purchases": frozenset({"fox", "owl"})})

    @flow
    def spend() -> None:
        runs.append(str(flow_run.id))
        ask_approval(shown, 60)
        ask_approval(shown.model_copy(update={"purchases": frozenset({"owl"})}), 60)
        runs.append(runs[0])
        ask_approval(shown.model_copy(update={"purchases": frozenset({"owl", "hare"})}), 60)

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(spend)
        client.resume_flow_run(paused(client, runs).id, run_input={"answer": "buy"})
        until("it asks again", lambda: len(runs) == 2 and _form(client, UUID(runs[0])))
        client.resume_flow_run(UUID(runs[0]), run_input={"answer": "do not buy"})
        with pytest.raises(NotApprovedError, match="do not buy"):
            ending.result(60)


async def test_a_question_that_nobody_answers_is_a_no() -> None:
    """After its time, the flow goes on with the error."""

    @flow
    async def spend() -> None:
        await aask_approval(DEAR, 1)

    with pytest.raises(NotApprovedError, match="Nobody answered within 1 s"):
        await spend()


async def test_what_is_cheap_is_not_asked() -> None:
    """Up to the bound; what has no known price is asked all the same."""
    cheap = DEAR.model_copy(update={"above_usd": Decimal("9.80")})
    ask_approval(cheap)
    await aask_approval(cheap)
    assert cheap.model_copy(update={"unpriced": 1}).is_due


def test_without_a_ui_nobody_can_be_asked() -> None:
    """A command's temporary server has none: it says how to approve instead of waiting a day."""

    @flow
    def spend() -> str:
        ephemeral = {PREFECT_API_URL: None, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True}
        with temporary_settings(ephemeral):
            with pytest.raises(NotApprovedError, match="no UI") as caught:
                approval._must_ask(DEAR, [])
            return caught.value.cure

    assert "--yes" in spend()


def test_only_a_flow_run_can_ask() -> None:
    """Anywhere else, nothing could be paused."""
    with pytest.raises(ConfigurationError, match="Only a flow run"):
        ask_approval(DEAR)
