"""The blocks that a user saves in Prefect: fal's credentials, and budgets.

`FalClient` is the bare client that the credentials hand out to callers without an event loop.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, overload
from uuid import UUID

from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from pydantic import Field, HttpUrl, SecretStr, StringConstraints, model_validator
from typing_extensions import Self

from prefect_hailuo.engine.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.errors import (
    ConfigurationError,
    InsecureHostError,
    LedgerError,
    MissingKeyError,
)
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS, AsyncFalClient
from prefect_hailuo.fal.hosts import FAL_HOSTS, Access, Hosts
from prefect_hailuo.fal.messages import EMULATOR_KEY, Cancellation, Output, Status, SynchronousReply
from prefect_hailuo.ledger.address import LedgerAddress
from prefect_hailuo.ledger.attempt import Limits
from prefect_hailuo.runs.settings import PREFIX, current_settings, load_block
from prefect_hailuo.ticket import Realm, Ticket

if TYPE_CHECKING:
    from prefect_hailuo.ledger.budgets import Allowance

T = TypeVar("T")

LOGO_URL = HttpUrl("https://avatars.githubusercontent.com/u/74778219?s=200&v=4")
"""fal's logo, a square of 200 pixels."""

DOCUMENTATION_URL = "https://docs.fal.ai"


class FalCredentials(CredentialsBlock):
    """fal's API key, and where it is good.

    Without a key, `FAL_KEY` is read from the environment, or `FAL_KEY_ID` with `FAL_KEY_SECRET`,
    each time that the key is needed: on the machine that uses it, not on the one that saved the
    block.

    Attributes:
        api_key: The key, `id:secret`, from https://fal.ai/dashboard/keys.
        account: A label for the account in records.
        realm: `fal`, where money is spent, or `emulator`, where none is.
        queue_url: fal's queue.
        run_url: fal's synchronous calls.
        rest_url: fal's webhook keys and uploads.
        platform_url: fal's prices, request history and model metadata.

    Raises:
        InsecureHostError: An address is neither https nor plain http to this machine's loopback.

    Example:
        Load stored credentials:
        ```python
        from prefect_hailuo import FalCredentials

        credentials = FalCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "fal Credentials"
    _block_type_slug = "fal-credentials"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl("https://docs.fal.ai/authentication/key-based")

    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The API key, as id:secret. If it is left out, FAL_KEY, or FAL_KEY_ID with "
        "FAL_KEY_SECRET, is read from the environment where the key is used.",
    )
    account: str | None = Field(
        default=None,
        description="A label for the account in records. By default, a digest of the key's id.",
    )
    realm: Realm = Field(
        default="fal",
        description="Whether the key is for fal, where money is spent, or for the emulator.",
    )
    queue_url: str = Field(
        default=FAL_HOSTS.queue_url, title="Queue URL", description="Where fal's queue is."
    )
    run_url: str = Field(
        default=FAL_HOSTS.run_url,
        title="Run URL",
        description="Where fal takes synchronous calls.",
    )
    rest_url: str = Field(
        default=FAL_HOSTS.rest_url,
        title="REST URL",
        description="Where fal serves webhook keys and takes uploads.",
    )
    platform_url: str = Field(
        default=FAL_HOSTS.platform_url,
        title="Platform URL",
        description="Where fal serves prices, the request history and model metadata.",
    )

    @model_validator(mode="after")
    def _check_hosts(self) -> Self:
        self.hosts()
        return self

    @classmethod
    def for_emulator(cls, url: str, api_key: str = EMULATOR_KEY) -> Self:
        """Credentials that lead every request to an emulator, and so cost nothing.

        Args:
            url: Where the emulator is.
            api_key: The key that it accepts, if it was given one of its own.

        Raises:
            InsecureHostError: The address is neither https nor plain http to loopback.

        Example:
            >>> FalCredentials.for_emulator("http://127.0.0.1:8017").realm
            'emulator'
        """
        base = url.rstrip("/")
        return cls(
            api_key=SecretStr(api_key),
            account="emulator",
            realm="emulator",
            queue_url=base,
            run_url=f"{base}/run",
            rest_url=f"{base}/rest",
            platform_url=f"{base}/platform/v1",
        )

    def hosts(self) -> Hosts:
        """fal's hosts, checked."""
        return _hosts(self.queue_url, self.run_url, self.rest_url, self.platform_url)

    def access(self) -> Access:
        """The key and the hosts, as the plain value that this package works with.

        Raises:
            MissingKeyError: There is no key, neither here nor in the environment.
            InsecureHostError: The key is in the environment, and a host is neither fal's own nor
                named by the setting `key_hosts`.
            ConfigurationError: The key cannot be one.
        """
        hosts = self.hosts()
        key = self.api_key or _key_from_environment()
        if key is None:
            raise MissingKeyError("No fal API key was given.")
        if self.api_key is None and (others := hosts.beyond(current_settings().key_hosts)):
            raise InsecureHostError(
                f"The environment's fal API key is not sent to {', '.join(others)}, which is none "
                "of fal's own hosts; nothing was sent.",
                cure="Put a key into the credentials, or name the host where the key is: "
                f"{PREFIX}KEY_HOSTS='{json.dumps(others)}'.",
            )
        if self.realm == "fal" and hosts.names_fal() and ":" not in key.get_secret_value():
            raise MissingKeyError(
                "The API key has no colon, so that a part of it is missing; nothing was sent.",
                cure="Copy all of it, id:secret, from https://fal.ai/dashboard/keys to FAL_KEY or "
                "to the block; or set FAL_KEY_ID and FAL_KEY_SECRET.",
            )
        return Access(key, hosts, self.realm, self.account or "")

    @overload
    def get_client(self, client_type: Literal["sync"] = "sync") -> FalClient: ...

    @overload
    def get_client(self, client_type: Literal["async"]) -> AsyncFalClient: ...

    def get_client(self, client_type: str = "sync") -> FalClient | AsyncFalClient:
        """A bare client of fal's queue: **it sends once, and prevents nothing else.**

        Two submissions of the same input are two purchases; the tasks and jobs of this package
        guard against that.

        Args:
            client_type: `"sync"`, or `"async"` for a client to be used as
                `async with credentials.get_client("async") as client`.

        Raises:
            MissingKeyError: There is no key.
            ValueError: There is no such type of client.

        Example:
            >>> FalCredentials(api_key="id:secret").get_client()
            FalClient('https://queue.fal.run', 'fal')
        """
        if client_type == "sync":
            return FalClient(self.access())
        if client_type == "async":
            return AsyncFalClient(self.access())
        raise ValueError(f"There is no client_type {client_type!r}. Use 'sync' or 'async'.")

    def check_key(self) -> None:
        """Ask fal whether the key is good, at no cost.

        Raises:
            MissingKeyError: There is no key.
            BadKeyError: The key is not good.
            NoCreditError: The account is locked.
        """
        process_loop().run(self._check_key)

    async def acheck_key(self) -> None:
        """The asynchronous twin of `check_key`."""
        await process_loop().arun(self._check_key)

    async def _check_key(self, connections: Connections, emit: Emit) -> None:
        await connections.client(self.access()).check_key()


Credentials = FalCredentials | str | None
"""A block, a saved block's name, or None: the key is in the environment, or the settings name an
emulator."""


def resolve_credentials(credentials: Credentials) -> FalCredentials:
    """The block that a `credentials` argument names.

    Raises:
        ConfigurationError: There is no saved block of that name.
    """
    if isinstance(credentials, str):
        block: FalCredentials = load_block(FalCredentials, credentials)
        return block
    return credentials or _default_credentials()


def _default_credentials() -> FalCredentials:
    emulator_url = current_settings().emulator_url
    return FalCredentials.for_emulator(emulator_url) if emulator_url else FalCredentials()


@lru_cache(maxsize=16)
def _hosts(*urls: str) -> Hosts:
    # Cached, because checking them takes longer than anything else that a task does with them.
    return Hosts(*urls)


def _key_from_environment() -> SecretStr | None:
    key = os.environ.get("FAL_KEY")
    parts = (os.environ.get("FAL_KEY_ID"), os.environ.get("FAL_KEY_SECRET"))
    if not key and all(parts):
        key = ":".join(part for part in parts if part)
    return SecretStr(key.strip()) if key and key.strip() else None


class Budget(Block):
    """What a scope may spend on videos, in US dollars, by all workers together.

    The limit lives in the ledger, with its scope: `apply` sets it, for everybody, and so does
    `save`, in the realm that the settings lead to. Passed to a task, or named there as a saved
    block, it says which scope pays; if that has no limit yet, this becomes its limit, and if it has
    another, the task refuses to buy.

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

    scope: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="The name that purchases are counted under."
    )
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

    def save(
        self,
        name: str | None = None,
        overwrite: bool = False,
        client: PrefectClient | None = None,
    ) -> Any:
        """Save the block, and make it the scope's limit in the realm that the settings lead to.

        Args:
            name: The block's name.
            overwrite: Whether to replace a block of that name.
            client: Prefect's, where this is awaited.

        Raises:
            LedgerError: The block is saved, and the ledger cannot be used.
        """
        saved = super().save(name, overwrite=overwrite, client=client)
        if isawaitable(saved):
            return self._apply_after(saved)
        self.apply(_default_credentials().realm)
        return saved

    async def asave(
        self,
        name: str | None = None,
        overwrite: bool = False,
        client: PrefectClient | None = None,
    ) -> UUID:
        """The asynchronous twin of `save`."""
        saved = super().asave(name, overwrite=overwrite, client=client)
        found: UUID = await self._apply_after(saved)
        return found

    async def _apply_after(self, saved: Awaitable[UUID]) -> UUID:
        found = await saved
        await self.aapply(_default_credentials().realm)
        return found

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


def resolve_budget(budget: Budget | str | None, realm: Realm) -> Budget | str | None:
    """The budget that a `budget` argument names: a scope, or a saved block.

    Args:
        budget: A block; or the name of a scope that has a limit in the ledger, or of a saved block.
        realm: Whose purchases it is for.

    Returns:
        The block, or the scope's name; as it was given, where it is neither.
    """
    if not isinstance(budget, str):
        return budget
    scope = budget.strip()
    with suppress(LedgerError):  # a claim will say what is wrong
        if _has_limit(scope, realm):
            return scope
        with suppress(ConfigurationError):
            block: Budget = load_block(Budget, scope)
            return block
    return scope


def _has_limit(scope: str, realm: Realm) -> bool:
    address = current_settings().ledger_of(realm)
    if (address, scope) in _limited:
        return True

    async def job(connections: Connections, emit: Emit) -> list[Allowance]:
        return await connections.ledgers.at(address).budgets.allowances(realm, scope)

    if process_loop().run(job):
        _limited.add((address, scope))
        return True
    return False


_limited: set[tuple[LedgerAddress, str]] = set()
"""Scopes that were seen to have limits: a scope never loses all of them."""


def _left(allowances: list[Allowance]) -> dict[str, Decimal]:
    return {allowance.period: allowance.left_usd for allowance in allowances}


class FalClient:
    """The synchronous twin of `AsyncFalClient`: it sends once, and prevents nothing else.

    Two submissions of the same input are two purchases. The tasks and jobs of this package guard
    against that; this client is for anything else.

    Args:
        access: The key, and where it is good.

    Example:
        >>> def buy(client: FalClient, prompt: str) -> Output:
        ...     endpoint = "fal-ai/minimax/hailuo-02/pro/text-to-video"
        ...     ticket = client.submit(endpoint, {"prompt": prompt})
        ...     client.stream(ticket, lambda status: print(status.status))
        ...     return client.result(ticket)
    """

    def __init__(self, access: Access) -> None:
        self.access = access

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.access.hosts.queue_url!r}, {self.access.realm!r})"

    def submit(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        webhook_url: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Ticket:
        """As `AsyncFalClient.submit`. **This spends money; it is sent once.**"""
        return self._run(
            lambda client: client.submit(endpoint, body, webhook_url=webhook_url, headers=headers)
        )

    def run(
        self,
        endpoint: str,
        body: dict[str, Any],
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> SynchronousReply:
        """As `AsyncFalClient.run`. **This spends money; it is sent once.**"""
        return self._run(lambda client: client.run(endpoint, body, timeout_seconds=timeout_seconds))

    def status(
        self, ticket: Ticket, *, logs: bool = True, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Status:
        """As `AsyncFalClient.status`."""
        return self._run(
            lambda client: client.status(ticket, logs=logs, timeout_seconds=timeout_seconds)
        )

    def stream(
        self,
        ticket: Ticket,
        seen: Callable[[Status], None],
        *,
        logs: bool = True,
    ) -> None:
        """As `AsyncFalClient.stream`; `seen` is called here with each status."""

        async def job(connections: Connections, emit: Emit) -> None:
            client = connections.client(self.access)
            async for status in client.stream(ticket, logs=logs):
                emit(status)

        process_loop().run(job, seen)

    def result(self, ticket: Ticket, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Output:
        """As `AsyncFalClient.result`."""
        return self._run(lambda client: client.result(ticket, timeout_seconds=timeout_seconds))

    def cancel(
        self, ticket: Ticket, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Cancellation:
        """As `AsyncFalClient.cancel`."""
        return self._run(lambda client: client.cancel(ticket, timeout_seconds=timeout_seconds))

    def check_key(self, *, timeout_seconds: float = 60.0) -> None:
        """As `AsyncFalClient.check_key`."""
        self._run(lambda client: client.check_key(timeout_seconds=timeout_seconds))

    def _run(self, call: Callable[[AsyncFalClient], Awaitable[T]]) -> T:
        async def job(connections: Connections, emit: Emit) -> T:
            return await call(connections.client(self.access))

        return process_loop().run(job)
