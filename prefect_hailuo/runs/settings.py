"""What a user can set once for all calls, in Prefect's own way; and the calls to Prefect's API."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from prefect.blocks.core import Block
from prefect.settings import get_current_settings
from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, SecretStr, field_validator

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.fal.client import DEFAULT_TIMEOUT_SECONDS
from prefect_hailuo.fal.webhooks import checked_webhook_url
from prefect_hailuo.ledger.address import Allowance, LedgerAddress, ledger_address
from prefect_hailuo.ledger.attempt import RECONCILE_SECONDS
from prefect_hailuo.storage.addresses import checked_file_host
from prefect_hailuo.storage.download import MOST_DOWNLOADS
from prefect_hailuo.storage.names import DEFAULT_TEMPLATE
from prefect_hailuo.ticket import Realm

PREFIX = "PREFECT_INTEGRATIONS_HAILUO_"
"""How the environment variables begin."""


class HailuoSettings(PrefectBaseSettings):
    """Read from `PREFECT_INTEGRATIONS_HAILUO_…` environment variables, Prefect's profile,
    `prefect.toml`, or `pyproject.toml`.

    Example:
        >>> HailuoSettings(timeout_seconds=3600).timeout_seconds
        3600.0
    """

    model_config = build_settings_config(("integrations", "hailuo"))

    output_directory: Path | None = Field(
        default=None,
        description="Where videos are kept when a call names no storage, a folder a realm; "
        "by default, in `hailuo` under Prefect's home.",
    )
    name_template: str = Field(
        default=DEFAULT_TEMPLATE,
        description="How videos are named in their storage, such as "
        "`{date}/{model}/{slug}-{key}.mp4`; also `year`, `month`, `day`, `take`, `realm` and "
        "`labels.<name>`. The date is that of the purchase, in UTC.",
    )
    timeout_seconds: float = Field(
        default=DEFAULT_TIMEOUT_SECONDS,
        gt=0,
        description="How long a generation is waited for when a call does not say; passing it "
        "loses nothing.",
    )
    emulator_url: str | None = Field(
        default=None,
        description="Where an emulator runs that calls without credentials are to use instead of "
        "fal, to test flows as they are at no cost. Such calls then need no key.",
    )
    key_hosts: frozenset[str] = Field(
        default=frozenset(),
        description="Other hosts than fal's own that may be given the environment's `FAL_KEY`, "
        'such as a gateway: `["gateway.example.com"]`, each with its port where that is not the '
        "usual one. Credentials with a key of their own need none.",
    )
    file_hosts: frozenset[str] = Field(
        default=frozenset(),
        description="Hosts and networks to which fal's links may lead besides public ones: a "
        'private endpoint of a bucket, `["files.example.internal", "10.20.0.0/16"]`. What answers '
        "there by https is read; where clouds tell a machine's secrets, nothing ever is.",
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        description="Where purchases are written down: a URL of SQLAlchemy's for PostgreSQL or a "
        "SQLite file; by default, a SQLite file a realm in `hailuo` under Prefect's home.",
    )
    ledger_allow: frozenset[Allowance] = Field(
        default=frozenset(),
        description="Unfit disks that the SQLite ledger of a real account may be on all the same: "
        "`network-filesystem`, `ephemeral-disk`.",
    )
    budget_scope: str = Field(
        default="default",
        min_length=1,
        description="The budget scope of purchases that name none.",
    )
    reconcile_seconds: float = Field(
        default=RECONCILE_SECONDS,
        ge=0,
        description="How long a request whose answer was lost is looked for in fal's history, "
        "which may lag.",
    )
    readable_paths: frozenset[str] = Field(
        default=frozenset(),
        description="Where the parameters of a deployment's runs may name files of the worker's, "
        "as rows or pictures: folders, `.` for the run's own, or beginnings of addresses. By "
        "default, only rows in buckets. Commands and programs of your own read any file.",
    )
    download_connections: int = Field(
        default=MOST_DOWNLOADS,
        ge=1,
        description="How many videos a process downloads at once; what they hold in memory "
        "together does not grow with it.",
    )
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        description="How many requests a process sends to fal's API in a second, all its flow runs "
        "together; by default, as many as it has. Downloads do not count.",
    )
    webhook_url: str | None = Field(
        default=None,
        description="Where fal reaches `prefect-hailuo webhooks`, or where its app is mounted: fal "
        "is then asked to call there, and nobody asks fal how a request stands.",
    )
    concurrency_limit: str | None = Field(
        default=None,
        min_length=1,
        description="The name of a global concurrency limit of Prefect's that caps how many videos "
        "are made at once, by all processes that name it; by default, nothing does.",
    )
    artifacts: bool = Field(
        default=True,
        description="Whether runs publish artifacts: progress, a card, and a poster.",
    )
    events: bool = Field(
        default=True,
        description="Whether runs send Prefect events, for automations: a video submitted, "
        "completed, failed or parked, a budget reached, a batch ended.",
    )
    assets: bool = Field(
        default=False,
        description="Whether each video that a run stores is a Prefect asset, keyed by the "
        "address of its file.",
    )

    @field_validator("file_hosts")
    @classmethod
    def _check_file_hosts(cls, given: frozenset[str]) -> frozenset[str]:
        return frozenset(map(checked_file_host, given))

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, url: str | None) -> str | None:
        return None if url is None else checked_webhook_url(url)

    def videos_of(self, realm: Realm) -> Path:
        """The default output directory of a realm; each has its own."""
        base = self.output_directory or get_current_settings().home / "hailuo"
        return base / realm / "videos"

    def ledger_of(self, realm: Realm) -> LedgerAddress:
        """Where a realm's purchases are written down.

        Raises:
            LedgerError: The setting names no place for a ledger.
        """
        url = self.ledger_url.get_secret_value() if self.ledger_url else None
        return _address(url, realm, get_current_settings().home / "hailuo", self.ledger_allow)


def current_settings() -> HailuoSettings:
    """The settings as they are now, read again only if they may have changed.

    Reading them takes a millisecond, which each of a thousand tasks would spend twice.

    Example:
        >>> current_settings() is current_settings()
        True
    """
    global _latest
    prefects = get_current_settings()
    others = ([*map(os.environ.get, _variables())], Path.cwd())
    # Prefect's own are compared by identity: it makes new ones where a profile is entered.
    known = _latest
    if known is None or known[0] is not prefects or known[1] != others:
        known = _latest = (prefects, others, HailuoSettings())
    return known[2]


@cache
def _variables() -> list[str]:
    """The environment variables that say something, as they are written in the documentation."""
    return [f"{PREFIX}{name}".upper() for name in HailuoSettings.model_fields]


_latest: tuple[object, object, HailuoSettings] | None = None


@cache
def _address(
    url: str | None, realm: Realm, home: Path, allow: frozenset[Allowance]
) -> LedgerAddress:
    # Cached, because looking at the disks takes longer than a claim.
    return ledger_address(url, realm, home, allow)


def load_block(block_class: type[Block], name: str) -> Any:
    """Load a saved block, from a thread that may wait.

    Raises:
        ConfigurationError: There is no such block, or no server to ask.
    """
    try:
        return synchronously(block_class.load, name)
    except (ValueError, RuntimeError, httpx.HTTPError) as error:
        raise ConfigurationError(
            f"The block {name!r} could not be loaded: {error}",
            cure="Save it first (block.save(name), or in Prefect's UI under Blocks), and check "
            "PREFECT_API_URL.",
        ) from error


def synchronously(function: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call the synchronous variant of a Prefect function that has both.

    Prefect chooses by the task that runs, even in a worker thread, unless it is told by `_sync`.
    Its types do not show that argument.
    """
    return function(*arguments, **keywords, _sync=True)
