"""What all runs of a benchmark stand on: no way out of this machine, a server, a certificate."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

from benchmarks.staying_inside import ROOT, without_accounts
from benchmarks.staying_inside import stay_inside as stay_inside
from prefect_hailuo.emulator.clip import render
from prefect_hailuo.ledger.address import Allowance
from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo

WORTHLESS_KEY = "benchmark:worthless-secret"
SERVER_START_SECONDS = 120


@dataclass(frozen=True)
class Surroundings:
    """What every run shares.

    Args:
        folder: Where files go; gone at the end.
        api_url: A temporary Prefect server.
        certificate: Path of a PEM certificate for this machine's loopback: fal's client insists
            on https.
        private_key: Path of its key.
        video: What the emulators serve, a whole MP4 file.
    """

    folder: Path
    api_url: str
    certificate: Path
    private_key: Path
    video: bytes

    def environment(self, home: Path, fal_url: str) -> dict[str, str]:
        """The environment of a flow's process; every address in it is on this machine.

        Args:
            home: A folder of its own, where Prefect and the ledger keep what they keep.
            fal_url: The emulator that stands for fal.
        """
        host = fal_url.removeprefix("https://")
        return without_accounts() | {
            "PREFECT_API_URL": self.api_url,
            "PREFECT_HOME": str(home / "prefect"),
            "FAL_KEY": WORTHLESS_KEY,
            "FAL_QUEUE_RUN_HOST": host,
            "FAL_RUN_HOST": f"{host}/run",
            "SSL_CERT_FILE": str(self.certificate),
            "BENCHMARK_FAL_URL": fal_url,
            "PREFECT_INTEGRATIONS_HAILUO_KEY_HOSTS": json.dumps([host]),
            # Wherever temporary files are kept here, no money is at stake.
            "PREFECT_INTEGRATIONS_HAILUO_LEDGER_ALLOW": json.dumps(get_args(Allowance)),
        }


@contextmanager
def surroundings(api_url: str | None = None) -> Iterator[Surroundings]:
    """Make what all runs share, and take it away at the end.

    Args:
        api_url: A Prefect server on this machine; None starts a temporary one.
    """
    stay_inside()
    # The tests' own function, from its file: the tests are no package to import from.
    make = runpy.run_path(str(ROOT / "tests" / "emulator" / "certificates.py"))["make_certificate"]
    video = render(Hailuo02ProTextToVideo.endpoint, "Bought once.")
    with TemporaryDirectory(prefix="bought-once-") as name, _server(api_url) as server:
        certificate, private_key = make(Path(name))
        yield Surroundings(Path(name), server, certificate, private_key, video)


@contextmanager
def _server(api_url: str | None) -> Iterator[str]:
    if api_url is not None:
        yield api_url
        return
    with (
        temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}),
        prefect_test_harness(server_startup_timeout=SERVER_START_SECONDS),
    ):
        yield str(PREFECT_API_URL.value())
