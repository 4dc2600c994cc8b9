"""No process of a benchmark leaves this machine, or knows of an account."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
GUARD = ROOT / "tests" / "guard"
NOT_FOR_CHILDREN = ("FAL_", "PREFECT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def stay_inside() -> None:
    """Refuse every connection that leaves this machine, here and in every child; forget keys."""
    path = [str(GUARD), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    os.environ["DO_NOT_TRACK"] = "1"
    for name in [name for name in os.environ if name.startswith("FAL_")]:
        del os.environ[name]
    runpy.run_path(str(GUARD / "sitecustomize.py"))


def without_accounts() -> dict[str, str]:
    """The environment for a child: without this machine's keys, profiles and proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(NOT_FOR_CHILDREN)
    }
