"""What is installed, beside what this package needs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from prefect_hailuo.checkup.findings import Finding, Surroundings, ok, problem, warning

PACKAGE = "prefect-hailuo"

SHOWN = (PACKAGE, "prefect", "httpx", "pydantic", "sqlalchemy", "fastapi")


def check_versions(surroundings: Surroundings) -> list[Finding]:
    """The interpreter's, this package's, and those of all that it needs."""
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
    """What is required always; or what one extra requires besides."""
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
