"""Prefect's own web interface, beside the tests' Prefect server, which is one without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

import uvicorn
from deployments import until
from prefect_servers import free_port


@contextmanager
def serving_interface() -> Iterator[str]:
    """Serve it, as Prefect's server does, for the server that the settings name; its address."""
    # It loads the whole of Prefect's server, which takes seconds and is not always needed.
    from prefect.server.api.server import create_ui_app

    port = free_port()
    config = uvicorn.Config(create_ui_app(ephemeral=False), port=port, log_level="error")
    server = uvicorn.Server(config)
    # In this context, for Prefect's settings are in it.
    thread = threading.Thread(target=copy_context().run, args=[server.run])
    thread.start()
    try:
        until("the interface is there", lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
