"""fal's own client, led to the benchmark's server.

It insists on https; one line makes it speak plain http, as all contenders do here, so that nothing
but TLS is taken off its bill. It is unmodified otherwise.
"""

from __future__ import annotations

import os

from benchmarks.flights.flight import WORTHLESS_KEY


def lead_to(url: str) -> None:
    """From now on, fal's client speaks with that server, with a worthless key."""
    os.environ["FAL_KEY"] = WORTHLESS_KEY
    # Read at its import; should the line below ever miss, nothing reaches fal all the same.
    os.environ["FAL_QUEUE_RUN_HOST"] = os.environ["FAL_RUN_HOST"] = url.removeprefix("http://")
    import fal_client.client

    fal_client.client.QUEUE_URL_FORMAT = f"{url}/"
