"""All checks, in the order in which people read them."""

from __future__ import annotations

from pydantic import ValidationError

from prefect_hailuo.blocks import Credentials, resolve_credentials
from prefect_hailuo.checkup.asking_fal import check_clock, check_key
from prefect_hailuo.checkup.asking_prefect import check_server
from prefect_hailuo.checkup.configuring import check_settings
from prefect_hailuo.checkup.counting_limits import check_limits
from prefect_hailuo.checkup.findings import (
    CHECK_SECONDS,
    Check,
    Finding,
    Surroundings,
    make_checks,
    refused,
)
from prefect_hailuo.checkup.looking_at_places import check_storage
from prefect_hailuo.checkup.reading_ledger import check_ledger
from prefect_hailuo.checkup.versions import check_versions
from prefect_hailuo.errors import HailuoError
from prefect_hailuo.settings import current_settings
from prefect_hailuo.storage import Storage

CHECKS: dict[str, Check] = {
    "versions": check_versions,
    "settings": check_settings,
    "key": check_key,
    "clock": check_clock,
    "ledger": check_ledger,
    "storage": check_storage,
    "server": check_server,
    "limits": check_limits,
}


def examine(
    credentials: Credentials = None, storage: Storage = None, *, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Look at everything that a purchase needs. It spends nothing, and shows no secret.

    Args:
        credentials: As for `generate_video`.
        storage: As for `generate_video`.
        seconds: How long all of it may take.

    Example:
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> with FalEmulator() as emulator:
        ...     findings = examine(emulator.credentials())
        >>> [finding.verdict for finding in findings if finding.check == "key"]
        ['ok']
    """
    if not _settings_are_valid():  # which most checks go by
        return make_checks(_some("versions", "settings", "server"), Surroundings(), seconds)
    try:
        block = resolve_credentials(credentials)
    except HailuoError as error:
        without_key = _some(*(name for name in CHECKS if name not in ("key", "clock")))
        found = make_checks(without_key, Surroundings(storage=storage), seconds)
        return [*found, refused("key", error)]
    return make_checks(CHECKS, Surroundings(block, storage), seconds)


def _some(*names: str) -> dict[str, Check]:
    return {name: CHECKS[name] for name in names}


def _settings_are_valid() -> bool:
    try:
        current_settings()
    except ValidationError:
        return False
    return True
