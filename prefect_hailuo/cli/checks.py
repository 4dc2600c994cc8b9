"""The doctor's checks: what each looks at, and what it found.

The checks run side by side, and each has the same time. None that fails or hangs hides what the
others find.
"""

from __future__ import annotations

import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timezone
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any, Literal

import httpx
import prefect
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from prefect_hailuo.engine.loop import Connections, Emit, Job, process_loop
from prefect_hailuo.errors import (
    BadKeyError,
    GenerationTimeoutError,
    HailuoError,
    LedgerError,
    MissingKeyError,
    NoCreditError,
    RealmMismatchError,
)
from prefect_hailuo.fal.follow import (
    KEPT_DESCRIPTORS,
    MOST_STREAMS,
    affordable_streams,
    descriptors,
)
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.replies import answered_at
from prefect_hailuo.ledger.address import (
    ALLOW_SETTING,
    LedgerAddress,
    Mount,
    danger_of,
    in_container,
    mount_of,
    mounts_here,
)
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.runs.blocks import FalCredentials
from prefect_hailuo.runs.settings import PREFIX, HailuoSettings, current_settings
from prefect_hailuo.runs.storage import Storage, resolve_storage
from prefect_hailuo.storage.place import Place
from prefect_hailuo.ticket import Realm

Verdict = Literal["ok", "warning", "problem"]

CHECK_SECONDS = 30.0
"""How long the checks may take, in seconds. One that takes longer counts as a problem."""

ANSWER_SECONDS = 15.0
"""How long fal may take to answer."""

PREFECT_ANSWER_SECONDS = 5.0

SKEW_SECONDS = 30.0
"""A difference of the clocks above this is a warning."""

BAD_SKEW_SECONDS = 240.0
"""fal's calls carry the time, and are refused when they are five minutes off."""

KEYS_PAGE = "https://fal.ai/dashboard/keys"

DOCUMENTATION = "prefect_hailuo.runs.settings.HailuoSettings lists all settings."

VIDEO_BYTES = 10_000_000
"""About what a video of six seconds at 1080p takes."""

LOW_BYTES = 100 * VIDEO_BYTES

OUT_BYTES = 5 * VIDEO_BYTES

MOST_LOOKED_AT = 100
"""Open attempts that are looked at one by one."""

PACKAGE = "prefect-hailuo"

SHOWN = (PACKAGE, "prefect", "httpx", "pydantic", "sqlalchemy", "fastapi", "uvloop")


class Finding(BaseModel):
    """What one check found.

    Args:
        check: What was looked at, such as `ledger`.
        verdict: `problem` where something will not work, `warning` where something may not.
        says: What was found.
        cure: What to do about it; empty where all is well.
        facts: Figures, for programs.

    Example:
        >>> Finding(check="disk", verdict="problem", says="It is full.", cure="Free space.").verdict
        'problem'
    """

    model_config = ConfigDict(frozen=True)

    check: str
    verdict: Verdict
    says: str
    cure: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What is looked at.

    Args:
        credentials: The block, which may have no key; by default, one without a key.
        storage: Where videos go; None for the default.
    """

    credentials: FalCredentials = field(default_factory=FalCredentials)
    storage: Storage = None


Check = Callable[[Surroundings], list[Finding]]


def make_checks(
    checks: Mapping[str, Check], surroundings: Surroundings, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Make checks side by side; none that fails or hangs hides what the others find.

    Args:
        checks: By name, in the order of the findings.
        surroundings: What to look at.
        seconds: How long all of them may take.
    """
    begun = [_Making(name, check) for name, check in checks.items()]
    for making in begun:
        making.start(surroundings)
    deadline = time.monotonic() + seconds
    return [finding for making in begun for finding in making.findings(deadline, seconds)]


@dataclass
class _Making:
    """A check in a thread of its own. The interpreter does not wait for it when it exits."""

    name: str
    check: Check
    found: list[Finding] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self, surroundings: Surroundings) -> None:
        """Begin."""
        context = copy_context()  # Prefect's settings are in context variables

        def make() -> None:
            try:
                self.found = context.run(self._make, surroundings)
            finally:
                self.over.set()

        threading.Thread(target=make, name=f"check {self.name}", daemon=True).start()

    def findings(self, deadline: float, seconds: float) -> list[Finding]:
        """What it found, or that it takes too long."""
        if self.over.wait(max(0.0, deadline - time.monotonic())):
            return self.found
        says = f"No answer within {seconds:g} seconds."
        return [problem(self.name, says, "See whether what it asks for can be reached from here.")]

    def _make(self, surroundings: Surroundings) -> list[Finding]:
        try:
            return self.check(surroundings)
        except HailuoError as error:
            return [refused(self.name, error)]
        except Exception as error:  # its own message may hold secrets
            says = f"The check failed by an unexpected error: {type(error).__name__}."
            return [problem(self.name, says, "Report it, with the versions above.")]


def ok(check: str, says: str, **facts: Any) -> Finding:
    """A finding: all is well."""
    return Finding(check=check, verdict="ok", says=says, facts=facts)


def warning(check: str, says: str, cure: str, **facts: Any) -> Finding:
    """A finding: something may not work, or not for long."""
    return Finding(check=check, verdict="warning", says=says, cure=cure, facts=facts)


def problem(check: str, says: str, cure: str, **facts: Any) -> Finding:
    """A finding: something does not work."""
    return Finding(check=check, verdict="problem", says=says, cure=cure, facts=facts)


def refused(check: str, error: HailuoError, **facts: Any) -> Finding:
    """A finding: something does not work; its error says why, and what cures it."""
    return problem(check, error.message, error.cure, **facts)


def check_versions(surroundings: Surroundings) -> list[Finding]:
    """The versions of Python, of this package, and of all that it needs."""
    return [_python(), _packages(), _extra("media")]


def _python() -> Finding:
    wanted = metadata(PACKAGE)["Requires-Python"]
    mine = platform.python_version()
    says = f"{platform.python_implementation()} {mine} on {platform.system()}"
    if SpecifierSet(wanted).contains(mine, prereleases=True):
        return ok("python", says, version=mine)
    cure = f"Use a Python {wanted}."
    return problem("python", f"{says}, which this release is not made for", cure, version=mine)


def _packages() -> Finding:
    installed = {name: found for name in SHOWN if (found := _installed(name))}
    says = ", ".join(f"{name} {found}" for name, found in installed.items())
    unfit = [each for each in _needed() if not _is_met(each)]
    if not unfit:
        return ok("packages", says, **installed)
    wrong = "; ".join(_complaint(each) for each in unfit)
    cure = f"pip install -U {PACKAGE} {' '.join(repr(_bare(each)) for each in unfit)}"
    return problem("packages", wrong, cure, **installed)


def _extra(extra: str) -> Finding:
    missing = [each for each in _needed(extra) if not _is_met(each)]
    if not missing:
        return ok(extra, f"the extra {extra!r} is installed: posters, probing, joining, emulator")
    says = f"the extra {extra!r} is not whole: {'; '.join(_complaint(each) for each in missing)}"
    cure = f"pip install '{PACKAGE}[{extra}]' for posters, probing, joining and the emulator"
    return warning(extra, says, cure)


def _needed(extra: str = "") -> list[Requirement]:
    """What the package requires; or, for an extra, what that requires besides."""
    found = [Requirement(each) for each in requires(PACKAGE) or ()]
    always = [each for each in found if _applies(each, "")]
    return always if not extra else [e for e in found if _applies(e, extra) and e not in always]


def _applies(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"extra": extra})


def _is_met(requirement: Requirement) -> bool:
    found = _installed(requirement.name)
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _complaint(requirement: Requirement) -> str:
    found = _installed(requirement.name)
    there = f"{requirement.name} {found} is installed" if found else f"no {requirement.name}"
    return f"{there}, and {_bare(requirement)} is needed"


def _bare(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_settings(surroundings: Surroundings) -> list[Finding]:
    """Whether the settings can be read, and whether every variable that is set is a setting."""
    unknown = [_misspelt(name) for name in unknown_settings(os.environ)]
    try:
        settings = HailuoSettings()
    except ValidationError as error:
        return [_invalid(error), *unknown]
    changed = _changed(settings)
    says = ", ".join(f"{name} = {value}" for name, value in changed.items())
    return [ok("settings", says or "all as they are by default", **changed), *unknown]


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """The environment variables that look like settings of this package, and are not.

    Example:
        >>> unknown_settings({"PREFECT_INTEGRATIONS_HAILUO_LEDGER_ULR": "x", "HOME": "/root"})
        ['PREFECT_INTEGRATIONS_HAILUO_LEDGER_ULR']
    """
    known = {f"{PREFIX}{name.upper()}" for name in HailuoSettings.model_fields}
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX.removesuffix("_")) and name.upper() not in known
    )


def _misspelt(name: str) -> Finding:
    known = [f"{PREFIX}{each.upper()}" for each in HailuoSettings.model_fields]
    near = get_close_matches(name.upper(), known, n=1)
    cure = f"Did you mean {near[0]}?" if near else DOCUMENTATION
    return warning("settings", f"{name} is set, and is no setting", cure, name=name)


def _invalid(error: ValidationError) -> Finding:
    # Without what was given: it may be a password in the wrong place.
    found = error.errors(include_input=False, include_url=False)
    wrong = "; ".join(f"{_variable(each['loc'])}: {each['msg']}" for each in found)
    names = ", ".join(_variable(each["loc"]) for each in found)
    return problem("settings", wrong, f"Correct or unset {names}.")


def _variable(location: tuple[int | str, ...]) -> str:
    return f"{PREFIX}{str(location[0]).upper()}" if location else PREFIX


def _changed(settings: HailuoSettings) -> dict[str, Any]:
    """The settings that differ from their defaults; secrets as asterisks."""
    found = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    changed = {
        name: value
        for name, value in found.items()
        if name in HailuoSettings.model_fields
        and value != HailuoSettings.model_fields[name].get_default(call_default_factory=True)
    }
    return {name: _shown(value) for name, value in changed.items()}


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "**********"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value)))
    return str(value)


def check_key(surroundings: Surroundings) -> list[Finding]:
    """Whether there is a key, and whether fal takes it; fal charges nothing for that."""
    block = surroundings.credentials
    try:
        access = block.access()
    except MissingKeyError as error:
        return [refused("key", error)]
    found = _ask(access)
    secret = access.key.get_secret_value()
    if ":" not in secret and found.verdict != "ok":
        says = f"{found.says} The key has no colon in it; fal's are written id:secret."
        return [problem("key", says, f"Copy it again, whole, from {KEYS_PAGE}.", **found.facts)]
    return [found]


def _ask(access: Access) -> Finding:
    async def job(connections: Connections, emit: Emit) -> None:
        await connections.client(access).check_key(timeout_seconds=ANSWER_SECONDS)

    facts = {"realm": access.realm, "account": access.account, "host": access.hosts.queue_url}
    try:
        process_loop().run(job)
    except (BadKeyError, NoCreditError, RealmMismatchError) as error:
        return refused("key", error, **facts)
    except GenerationTimeoutError:
        says = f"{access.hosts.queue_url} does not answer, so the key was not tried."
        cure = "See whether this machine may reach it: network, proxy, firewall, TLS certificates."
        return problem("key", says, cure, **facts)
    except HailuoError as error:
        return refused("key", error, **facts)
    whose = "the emulator" if access.realm == "emulator" else "fal"
    return ok("key", f"{whose} takes it; account {access.account}", **facts)


def check_clock(surroundings: Surroundings) -> list[Finding]:
    """Whether this machine's clock agrees with fal's, as the head of its answers tells it."""
    url = f"{surroundings.credentials.hosts().platform_url}/models"

    async def job(connections: Connections, emit: Emit) -> tuple[httpx.Response, datetime]:
        params = {"endpoint_id": next(iter(CATALOGUE))}
        response = await connections.http.get(url, params=params, timeout=ANSWER_SECONDS)
        return response, datetime.now(timezone.utc)

    try:
        response, now = process_loop().run(job)
    except httpx.HTTPError as error:
        cure = "See whether this machine may reach it: network, proxy, firewall, TLS certificates."
        return [problem("fal", f"{url} does not answer ({type(error).__name__})", cure)]
    if "date" not in response.headers:
        return [warning("clock", "fal's answer names no time", "Compare the clock yourself.")]
    return [_compare(answered_at(response), now)]


def _compare(theirs: datetime, ours: datetime) -> Finding:
    skew = (ours - theirs).total_seconds()
    says = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} fal's"
    cure = "Set this machine's clock by NTP: schedules, webhooks and lost requests go by it."
    if abs(skew) > BAD_SKEW_SECONDS:
        return problem("clock", says, cure, skew_seconds=round(skew, 1))
    if abs(skew) > SKEW_SECONDS:
        return warning("clock", says, cure, skew_seconds=round(skew, 1))
    return ok("clock", "agrees with fal's", skew_seconds=round(skew, 1))


def check_ledger(surroundings: Surroundings) -> list[Finding]:
    """Whether the ledger takes purchases; what is parked in it, and what no process waits for."""
    realm = surroundings.credentials.realm
    try:
        address = current_settings().ledger_of(realm)
        attempts = process_loop().run(_looking(address, realm))
    except LedgerError as error:
        return [refused("ledger", error)]
    facts = {"ledger": address.name, "realm": realm, "revision": attempts.revision}
    says = f"{address.name} can be written to; revision {attempts.revision}"
    found = [ok("ledger", f"{says}{_disk_of(address.file)}", **facts), *_disk(address.file)]
    return [*found, *_open(attempts, realm)]


@dataclass(frozen=True)
class _OpenAttempts:
    """The attempts of a ledger that have no end yet.

    Args:
        revision: The tables' own version.
        parked: Attempts that wait for a decision.
        unawaited: Attempts without an end that no process waits for.
        more: Whether there may be more than were looked at.
    """

    revision: str
    parked: int
    unawaited: int
    more: bool


def _looking(address: LedgerAddress, realm: Realm) -> Job[_OpenAttempts]:
    # Imported here, because it loads SQLAlchemy, which nothing else loads before it is used.
    from prefect_hailuo.ledger.database import REVISIONS
    from prefect_hailuo.ledger.upkeep.reading import Choice

    async def job(connections: Connections, emit: Emit) -> _OpenAttempts:
        ledger = connections.ledgers.at(address)
        await ledger.try_out()
        choice = Choice(realm, parked=True, limit=MOST_LOOKED_AT)
        parked = {each.attempt.key for each in await ledger.reading.entries(choice)}
        left = {each.key for each in await ledger.unfinished.attempts(realm)} - parked
        seen = sorted(left)[:MOST_LOOKED_AT]
        unawaited = [key for key in seen if not await ledger.waiters.is_awaited(key)]
        more = len(left) > len(seen) or len(parked) == MOST_LOOKED_AT
        return _OpenAttempts(REVISIONS[-1], len(parked), len(unawaited), more)

    return job


def _open(attempts: _OpenAttempts, realm: Realm) -> list[Finding]:
    at_least = "at least " if attempts.more else ""
    found = []
    if attempts.parked:
        says = f"{at_least}{attempts.parked} parked: somebody has to decide about them"
        cure = f"prefect-hailuo ledger list --parked --realm {realm}"
        found.append(warning("ledger", says, cure, parked=attempts.parked))
    if attempts.unawaited:
        says = f"{at_least}{attempts.unawaited} have no end, and no process waits for them"
        cure = f"prefect-hailuo ledger reconcile --realm {realm}; schedule the flow reconcile"
        found.append(warning("ledger", says, cure, forsaken=attempts.unawaited))
    return found


def _disk_of(file: Path | None) -> str:
    mount = _mount_of(file)
    return f"; on {mount.kind}" if mount else ""


def _disk(file: Path | None) -> list[Finding]:
    """A warning about an unsafe disk, even if it was allowed by name."""
    mount = _mount_of(file)
    if mount is None or danger_of(mount, contained=in_container()) is None:
        return []
    allowed = f"its disk ({mount.kind}) was allowed by {ALLOW_SETTING}"
    says = f"{allowed}, and is unfit for a real account's"
    return [warning("ledger", says, "Keep it on a lasting local disk, or in PostgreSQL.")]


def _mount_of(file: Path | None) -> Mount | None:
    return mount_of(file.resolve(), mounts_here()) if file else None


def check_storage(surroundings: Surroundings) -> list[Finding]:
    """Whether the place takes files: a small one is written there."""
    try:
        place = resolve_storage(surroundings.storage, surroundings.credentials.realm)
        process_loop().run(lambda connections, emit: _try_out(place))
    except HailuoError as error:
        cure = error.cure
        if "directory" not in cure:
            cure = f"{cure} The setting PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY names it."
        return [problem("storage", error.message, cure)]
    path = place.path_of("video.mp4")
    return [_room(path.parent) if path else ok("storage", f"{place.label} takes files")]


async def _try_out(place: Place) -> None:
    await place.check()


def _room(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    says = f"{directory} takes files; {free / 1e9:.1f} GB are free"
    facts = {"directory": str(directory), "free_bytes": free}
    cure = (
        "Free some space, or name another place with PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY."
    )
    if free < OUT_BYTES:
        return problem("storage", says, cure, **facts)
    if free < LOW_BYTES:
        return warning("storage", f"{says}: about {free // VIDEO_BYTES} videos", cure, **facts)
    return ok("storage", says, **facts)


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
    with get_client(sync_client=True, httpx_settings={"timeout": PREFECT_ANSWER_SECONDS}) as client:
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
    except Exception:  # not registered, or Prefect does not say; only the UI needs it
        cure = "prefect block register -m prefect_hailuo"
        return [warning("blocks", "Prefect's UI does not know this package's blocks yet", cure)]
    return [ok("blocks", "Prefect's UI knows this package's blocks")]


def check_limits(surroundings: Surroundings) -> list[Finding]:
    """How many files may be open, one for each request that is followed; and requests a second."""
    rate = current_settings().requests_per_second
    said = "no limit" if rate is None else f"{rate:g}"
    return [
        _files(),
        ok("limits", f"requests to fal in a second: {said}", requests_per_second=rate),
    ]


def _files() -> Finding:
    files, streams = descriptors(), affordable_streams()
    says = f"{files:g} open files, so {streams} requests can be listened to at once"
    facts = {"open_files": None if files == float("inf") else int(files), "streams": streams}
    if files >= KEPT_DESCRIPTORS + MOST_STREAMS:
        return ok("limits", says, **facts)
    wanted = KEPT_DESCRIPTORS + MOST_STREAMS
    cure = f"For large batches: ulimit -n {wanted}, or more, before the worker starts."
    return warning("limits", says, cure, **facts)
