"""What the commands share: which realm is meant, and how its ledger is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from prefect_hailuo.blocks import resolve_credentials
from prefect_hailuo.connections import Connections, Emit
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.messages import Realm
from prefect_hailuo.ledger.ledger import Ledger
from prefect_hailuo.loop import process_loop
from prefect_hailuo.settings import current_settings

T = TypeVar("T")

RealmOption = Annotated[
    Realm | None,
    Parameter(help="Whose purchases. Default: fal; the emulator where the settings name one."),
]

JsonOption = Annotated[
    bool, Parameter(help="Print everything, as JSON.", negative="", show_default=False)
]

CredentialsOption = Annotated[
    str | None,
    Parameter(help="A saved credentials block. Default: the attempt's own, else the environment."),
]


def realm_of(given: Realm | None) -> Realm:
    """The realm that a command is about."""
    return given or ("emulator" if current_settings().emulator_url else "fal")


def ask(
    realm: Realm,
    question: Callable[[Ledger], Awaitable[T]],
    handle: Callable[[Any], None] | None = None,
) -> T:
    """Ask a realm's ledger, on the package's loop."""

    async def only(ledger: Ledger, connections: Connections, emit: Emit) -> T:
        return await question(ledger)

    return ask_with(realm, only, handle)


def ask_with(
    realm: Realm,
    question: Callable[[Ledger, Connections, Emit], Awaitable[T]],
    handle: Callable[[Any], None] | None = None,
) -> T:
    """Ask a realm's ledger, and fal; what the question emits is handled here."""
    address = current_settings().ledger_of(realm)

    async def job(connections: Connections, emit: Emit) -> T:
        return await question(connections.ledgers.at(address), connections, emit)

    return process_loop().run(job, handle) if handle else process_loop().run(job)


def access_of(realm: Realm, credentials: str | None) -> Access:
    """A key for a realm.

    Raises:
        ConfigurationError: There is none, or it is the other realm's.
    """
    access = resolve_credentials(credentials).access()
    if access.realm != realm:
        raise ConfigurationError(
            f"The credentials are for the realm {access.realm!r}, and this is about {realm!r}.",
            cure="Name others with --credentials, or the realm with --realm.",
        )
    return access
