"""The settings in force, and those that are none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError

from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, problem, warning
from prefect_hailuo.settings import PREFIX, HailuoSettings

DOCUMENTATION = "prefect_hailuo.settings.HailuoSettings lists all settings."


def check_settings(surroundings: Surroundings) -> list[Finding]:
    """Whether they can be read, and whether each that is set is one."""
    unknown = [_misspelt(name) for name in unknown_settings(os.environ)]
    try:
        settings = HailuoSettings()
    except ValidationError as error:
        return [_invalid(error), *unknown]
    changed = _changed(settings)
    says = ", ".join(f"{name} = {value}" for name, value in changed.items())
    return [ok("settings", says or "all as they are by default", **changed), *unknown]


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """The environment's variables that look like settings and are none.

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
    """What is not as it is by default; secrets as asterisks."""
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
