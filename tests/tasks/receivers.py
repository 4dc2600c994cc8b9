"""Receivers of fal's calls for the tests: in this process, and in one of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette

from prefect_hailuo.emulator.server import WebServer, listen

WEBHOOK_URL = "PREFECT_INTEGRATIONS_HAILUO_WEBHOOK_URL"


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """An app, served in a thread; its URL."""
    listener = listen(("127.0.0.1", 0))
    server = WebServer(app, on_stop=lambda: None)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    server.ready.wait(30)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hailuo"
    finally:
        server.stop()
        thread.join()


@contextmanager
def told_at(url: str) -> Iterator[None]:
    """Have fal call an address for whatever is submitted meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WEBHOOK_URL, url)
        yield
