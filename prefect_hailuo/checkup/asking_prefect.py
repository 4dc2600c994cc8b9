"""Prefect's API: whether there is one, and whether its release goes with this one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import prefect
from packaging.version import InvalidVersion, Version
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from prefect_hailuo.blocks import FalCredentials
from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, problem, warning
from prefect_hailuo.settings import current_settings

ANSWER_SECONDS = 5.0


def check_server(surroundings: Surroundings) -> list[Finding]:
    """Whether Prefect's API answers, with which version, and whether it knows our blocks."""
    url = get_current_settings().api.url
    if not url:
        says = "no PREFECT_API_URL: each run starts a server of its own, for itself"
        cure = (
            "For deployments and schedules: prefect server start, and then "
            "prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
        return [warning("server", says, cure, client=prefect.__version__)]
    # What follows a user name or a question mark may be secret.
    shown = str(httpx.URL(url).copy_with(userinfo=b"", query=None))
    with get_client(sync_client=True, httpx_settings={"timeout": ANSWER_SECONDS}) as client:
        error = client.api_healthcheck()
        if error is not None:
            return [_unhealthy(shown, error)]
        return [_version(shown, client), *_blocks(client), *_limit(client)]


def _unhealthy(url: str, error: Exception) -> Finding:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        cure = "Set PREFECT_API_KEY, or PREFECT_API_AUTH_STRING: prefect cloud login does it."
        return problem("server", f"{url} refuses this client (HTTP {status})", cure)
    what = f"HTTP {status}" if status else type(error).__name__
    cure = "Start it (prefect server start), or correct PREFECT_API_URL."
    return problem("server", f"{url} does not answer ({what})", cure)


def _version(url: str, client: SyncPrefectClient) -> Finding:
    mine, theirs = prefect.__version__, None
    with suppress(Exception):  # Prefect Cloud does not say
        theirs = str(client.api_version())
    facts: dict[str, Any] = {"url": url, "client": mine, "server": theirs}
    if theirs is None:
        return ok("server", f"{url} answers; this client is {mine}", **facts)
    if _is_older(theirs, mine):
        says = f"{url} is Prefect {theirs}, and this client is {mine}: newer than its server"
        return warning("server", says, "Upgrade the server: it must be as new as its clients.")
    return ok("server", f"{url} is Prefect {theirs}; this client is {mine}", **facts)


def _is_older(theirs: str, mine: str) -> bool:
    try:
        return Version(theirs).release[:2] < Version(mine).release[:2]
    except InvalidVersion:
        return False


def _limit(client: SyncPrefectClient) -> list[Finding]:
    """The global concurrency limit that the settings name."""
    name = current_settings().concurrency_limit
    if name is None:
        return []
    cure = f"Make it: prefect gcl create {name} --limit 40; or take the setting away."
    try:
        limit = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        says = f"Prefect knows no global concurrency limit {name!r}, so nothing would be bought"
        return [problem("concurrency", says, cure, limit=name)]
    if not limit.active:
        says = f"the global concurrency limit {name!r} is switched off"
        return [warning("concurrency", says, f"prefect gcl enable {name}", limit=name)]
    if limit.limit < 1:
        says = f"the global concurrency limit {name!r} lets nothing through"
        cure = f"prefect gcl update {name} --limit 40"
        return [problem("concurrency", says, cure, limit=name)]
    says = f"{name!r} lets {limit.limit} videos be made at once, {limit.active_slots} slots taken"
    return [ok("concurrency", says, limit=name, slots=limit.limit, taken=limit.active_slots)]


def _blocks(client: SyncPrefectClient) -> list[Finding]:
    slug = FalCredentials.get_block_type_slug()
    try:
        client.read_block_type_by_slug(slug)
    except Exception:  # not registered, or not to be told; it is needed by nobody but the UI
        cure = "prefect block register -m prefect_hailuo"
        return [warning("blocks", "Prefect's UI does not know this package's blocks yet", cure)]
    return [ok("blocks", "Prefect's UI knows this package's blocks")]
