"""The server in a process of its own, and how a benchmark speaks with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from benchmarks.lean_fal.load import Load

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 30
DIRECTLY = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class LeanFal:
    """A server that runs.

    Args:
        url: Its address.
    """

    url: str

    def begin(self, load: Load) -> None:
        """Forget all requests and figures; from now on, take requests of this load."""
        self._ask("begin", json.dumps(asdict(load)).encode())

    def figures(self) -> dict[str, Any]:
        """What it counted since then."""
        return self._ask("figures")

    def _ask(self, what: str, body: bytes | None = None) -> dict[str, Any]:
        with DIRECTLY.open(f"{self.url}/_lean/{what}", body, ANSWER_SECONDS) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    def check(self) -> None:
        """Make sure that it is this server, and no other.

        Raises:
            ValueError: It is not.
        """
        try:
            known = "lean_fal" in self.figures()
        except (URLError, ValueError):
            known = False
        if not known:
            raise ValueError(f"{self.url} is no server of `python -m benchmarks.lean_fal`")


@contextmanager
def lean_fal(clip: str = "tiny") -> Iterator[LeanFal]:
    """Start a server, and end it."""
    command = [sys.executable, "-m", "benchmarks.lean_fal", "--child", "--clip", clip]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin  # noqa: S101
        assert child.stdout  # noqa: S101
        url = child.stdout.readline().strip()
        if not url:
            raise RuntimeError("The lean server did not start.")
        try:
            yield LeanFal(url)
        finally:
            child.stdin.close()
