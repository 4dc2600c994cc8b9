"""The emulator from the command line: it serves until it is told to stop."""

from __future__ import annotations

import sys
import threading
from os import PathLike

from prefect_hailuo.emulator.clips import Clip
from prefect_hailuo.emulator.server import FalEmulator
from prefect_hailuo.fal.messages import EMULATOR_KEY, EMULATOR_PORT, EMULATOR_SPEED

_INSTRUCTIONS = """\
An emulator of fal is at {url}: nothing is generated, nothing is charged.

With this package:

    from prefect_hailuo import FalCredentials

    credentials = FalCredentials.for_emulator("{url}"{own_key})

Or, for every call that names no credentials:

    export PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL={url}

With curl:

    curl {url}/run/fal-ai/minimax/hailuo-2.3/pro/text-to-video \\
      --header "Authorization: Key {key}" \\
      --json '{{"prompt": "A red fox crosses a snowy field."}}'
{official}
Ctrl-C stops it.
"""

_OFFICIAL_CLIENT = """
With fal's Python client:

    export FAL_KEY={key} SSL_CERT_FILE={certificate}
    export FAL_QUEUE_RUN_HOST={host} FAL_RUN_HOST={host}/run
"""


def serve(
    port: int = EMULATOR_PORT,
    speed: float = EMULATOR_SPEED,
    *,
    host: str = "127.0.0.1",
    concurrency: int = 2,
    api_key: str = EMULATOR_KEY,
    clip: Clip = "prompt",
    certificate: str | PathLike[str] | None = None,
    private_key: str | PathLike[str] | None = None,
    until: threading.Event | None = None,
) -> None:
    """Serve until Ctrl-C, and say on standard output how to use it and what it would have cost.

    Args:
        port: Where to listen; 0 for any free port.
        speed: Seconds of emulator time to a second of the machine's.
        host: The address to listen on; by default this machine's loopback only.
        concurrency: How many generations are worked on at once.
        api_key: The key that is accepted.
        clip: The videos; see `FalEmulator`.
        certificate: Path of a PEM certificate: serves https.
        private_key: Path of its PEM private key.
        until: Ends it when set, as Ctrl-C does.

    Raises:
        OSError: The port is taken.
        ValueError: `speed`, `concurrency` or `clip` makes no sense.
    """
    emulator = FalEmulator(
        port=port,
        host=host,
        speed=speed,
        concurrency=concurrency,
        api_key=api_key,
        clip=clip,
        certificate=certificate,
        private_key=private_key,
    )
    with emulator:
        _say(_instructions(emulator, certificate))
        try:
            (until or threading.Event()).wait()
        except KeyboardInterrupt:
            _say("\n")
    _say(_summary(emulator))


def _instructions(emulator: FalEmulator, certificate: str | PathLike[str] | None) -> str:
    key, host = emulator.api_key, emulator.url.partition("//")[2]
    official = _OFFICIAL_CLIENT.format(key=key, host=host, certificate=certificate)
    return _INSTRUCTIONS.format(
        url=emulator.url,
        key=key,
        own_key="" if key == EMULATOR_KEY else f', api_key="{key}"',
        official=official if certificate else "",
    )


def _summary(emulator: FalEmulator) -> str:
    tallies = emulator.stats()
    return (
        f"Submitted: {tallies['submitted']}. Completed: {tallies['completed']}. "
        f"fal would have charged {tallies['charged']}, ${emulator.charged_usd}.\n"
    )


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
