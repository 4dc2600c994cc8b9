"""The credentials block."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr

from prefect_hailuo import FalCredentials, HailuoVideoJob
from prefect_hailuo.emulator import LOCKED_KEY, FalEmulator
from prefect_hailuo.errors import BadKeyError, InsecureHostError, MissingKeyError, NoCreditError
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.runs.blocks import FalClient

KEY = "0b5f2d9e:3a7c41d8f29b4e60"


@pytest.mark.parametrize("block", [FalCredentials, HailuoVideoJob])
class TestStandards(BlockStandardTestSuite):
    """Both blocks keep Prefect's own standards; the logo alone would need a network."""

    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block


def test_reads_the_key_from_the_environment_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A block without a key takes FAL_KEY, or FAL_KEY_ID with FAL_KEY_SECRET."""
    block = FalCredentials()
    monkeypatch.setenv("FAL_KEY_ID", "an-id")
    monkeypatch.setenv("FAL_KEY_SECRET", "a-secret")
    assert block.access().key.get_secret_value() == "an-id:a-secret"
    monkeypatch.setenv("FAL_KEY", KEY)
    assert block.access().key.get_secret_value() == KEY


def test_says_how_to_get_a_key() -> None:
    """Without any key the error names every cure."""
    with pytest.raises(MissingKeyError, match=r"FAL_KEY.*FAL_KEY_ID.*FalCredentials.*--emulator"):
        FalCredentials().access()


def test_never_shows_its_key() -> None:
    """The key is in no text that can be made of a block, its access or its clients."""
    block = FalCredentials(api_key=SecretStr(KEY))
    shown = [block, block.access(), block.get_client(), block.get_client("async")]
    texts = [repr(each) + str(each) for each in shown] + [block.model_dump_json()]
    assert not any(part in text for text in texts for part in KEY.split(":"))


def test_gives_clients_of_both_colours() -> None:
    """`get_client` gives the bare client for the caller's kind of code."""
    block = FalCredentials(api_key=SecretStr(KEY))
    assert isinstance(block.get_client(), FalClient)
    assert isinstance(block.get_client("async"), AsyncFalClient)
    with pytest.raises(ValueError, match="'sync' or 'async'"):
        block.get_client("thread")  # type: ignore[call-overload]


def test_bare_client_says_that_it_prevents_nothing() -> None:
    """Who takes the bare client is told what it does not do."""
    for documented in (FalCredentials.get_client, FalClient, AsyncFalClient):
        text = " ".join((documented.__doc__ or "").split())
        assert "prevents nothing else" in text
        assert "Two submissions of the same input are two purchases" in text


def test_refuses_hosts_that_must_not_have_the_key() -> None:
    """Plain http is for loopback; a block that says otherwise cannot be made."""
    with pytest.raises(InsecureHostError, match=r"queue_url.*https"):
        FalCredentials(queue_url="http://queue.fal.example")
    assert FalCredentials(queue_url="http://[::1]:8123").queue_url == "http://[::1]:8123"


ELSEWHERE = {
    "https://collector.example": "collector.example",
    "https://queue.fal.run.collector.example": "queue.fal.run.collector.example",
    "https://fal.run:8443": "fal.run:8443",
    "https://somebody.alpha.fal.ai": "somebody.alpha.fal.ai",
    "http://127.0.0.1:8017": "127.0.0.1:8017",
}


@pytest.mark.parametrize("field", ["queue_url", "run_url", "rest_url", "platform_url"])
@pytest.mark.parametrize("url", ELSEWHERE)
def test_the_workers_key_goes_to_fal_alone(
    url: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts a run may name hosts: they get their own key, not that of the worker."""
    for name in ("FAL_KEY_ID", "FAL_KEY_SECRET"):
        monkeypatch.setenv(name, KEY)
    for realm in ("fal", "emulator"):
        others = {
            each: "https://x.example" for each in FalCredentials.model_fields if "url" in each
        }
        block = FalCredentials.model_validate(
            {**(others if realm == "emulator" else {}), "realm": realm, field: url}
        )
        with pytest.raises(InsecureHostError, match=ELSEWHERE[url]) as caught:
            block.access()
        assert KEY not in str(caught.value)
    assert FalCredentials.model_validate({"api_key": KEY, field: url}).access()


def test_the_workers_key_goes_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway of one's own is named beside the key."""
    monkeypatch.setenv("FAL_KEY", KEY)
    gateway = FalCredentials(queue_url="https://gateway.example:8443/fal")
    with pytest.raises(InsecureHostError, match=r"KEY_HOSTS='\[\"gateway.example:8443\"\]'"):
        gateway.access()
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_KEY_HOSTS", '["gateway.example:8443"]')
    assert gateway.access().key.get_secret_value() == KEY
    with pytest.raises(InsecureHostError, match=r"other\.example"):
        FalCredentials(queue_url="https://other.example").access()


@pytest.mark.usefixtures("prefect_server")
def test_survives_being_saved(emulator: FalEmulator) -> None:
    """A saved block comes back with its key and its hosts."""
    name = f"saved-{uuid4().hex[:8]}"
    emulator.credentials().save(name)
    loaded = FalCredentials.load(name)
    assert isinstance(loaded, FalCredentials)
    assert loaded.access() == emulator.credentials().access()


def test_checks_a_key_for_nothing(emulator: FalEmulator) -> None:
    """A good key passes, a bad one and a locked one are told apart, and nothing is bought."""
    emulator.credentials().check_key()
    with pytest.raises(BadKeyError, match=r"https://fal.ai/dashboard/keys"):
        FalCredentials.for_emulator(emulator.url, "not:thekey").check_key()
    assert emulator.stats()["submitted"] == 0


async def test_checks_a_key_from_a_coroutine(emulator: FalEmulator) -> None:
    """The asynchronous twin does the same."""
    await emulator.credentials().acheck_key()
    with pytest.raises(BadKeyError):
        await FalCredentials.for_emulator(emulator.url, "not:thekey").acheck_key()


def test_an_account_without_credit_is_told_to_top_up(emulator: FalEmulator) -> None:
    """fal's refusal for lack of credit names the place to pay."""
    locked = FalCredentials.for_emulator(emulator.url, LOCKED_KEY).get_client()
    with pytest.raises(NoCreditError, match=r"https://fal.ai/dashboard/billing"):
        locked.submit("fal-ai/minimax/hailuo-02/pro/text-to-video", {"prompt": "An owl."})
    assert emulator.charged == 0
