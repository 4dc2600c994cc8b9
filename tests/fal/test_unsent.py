"""What never went out has bought nothing, and is told apart from what may have."""

from __future__ import annotations

import socket
import time
from typing import Any

import httpx
import pytest
from raw_server import BODY, ENDPOINT, HTML, RawServer, Reply, access_to, answer, closed_port

from prefect_hailuo import clock
from prefect_hailuo.errors import Billed, SubmitUnknownError, UnreachableError
from prefect_hailuo.fal import client as fal_client
from prefect_hailuo.fal import post
from prefect_hailuo.fal.client import AsyncFalClient


async def test_a_refused_connection_bought_nothing() -> None:
    """Where nobody listens, nothing was sent: the submission may be tried again."""
    with closed_port() as url:
        async with AsyncFalClient(access_to(url)) as client:
            for buy in (client.submit, client.run):
                with pytest.raises(UnreachableError, match="Check the network, the pr") as caught:
                    await buy(ENDPOINT, BODY)
    assert (caught.value.billed, caught.value.retryable) == (Billed.NO, True)


async def test_a_failed_handshake_bought_nothing() -> None:
    """Where TLS does not come about, nothing was sent."""
    with RawServer(Reply(ending="slam")) as server:
        async with AsyncFalClient(access_to(server.url.replace("http:", "https:"))) as client:
            with pytest.raises(UnreachableError) as caught:
                await client.submit(ENDPOINT, BODY)
    assert caught.value.billed is Billed.NO


async def test_a_connection_that_does_not_come_about_bought_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server too busy to take the connection was sent nothing."""
    monkeypatch.setattr(post, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:
        address = busy.getsockname()
        with socket.create_connection(address):  # fills the queue of connections
            async with AsyncFalClient(access_to(f"http://127.0.0.1:{address[1]}")) as client:
                with pytest.raises(UnreachableError, match="No connection to"):
                    await client.submit(ENDPOINT, BODY)


async def test_a_proxy_that_refuses_was_sent_neither_order_nor_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy is asked to connect, and no more, before TLS stands."""
    with RawServer(answer(403, HTML)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AsyncFalClient(access_to("https://fal.example")) as client:
            with pytest.raises(UnreachableError) as caught:
                await client.submit(ENDPOINT, BODY)
    assert caught.value.billed is Billed.NO
    assert proxy.methods == ["CONNECT"]
    assert "authorization" not in proxy.requests[0].headers


async def test_no_free_connection_means_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that waits in vain for its turn at the connections has bought nothing."""
    monkeypatch.setattr(fal_client, "SUBMIT_SECONDS", 0.3)
    with RawServer(Reply(b"HTTP/1.1 200 OK\r\n\r\n", "hang")) as server:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits) as http, http.stream("GET", server.url):
            with pytest.raises(UnreachableError, match="No connection to"):
                await AsyncFalClient(server.access(), http).submit(ENDPOINT, BODY)
    assert server.methods == ["GET"]


class Sleepy:
    """The clocks of a machine that sleeps for an hour when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept = 0.0
        readings = (time.monotonic, lambda: time.monotonic() + self.slept)
        monkeypatch.setattr(clock, "READINGS", readings)

    async def sleep(self) -> None:
        """Its timers do not notice."""
        self.slept += 3600


async def test_a_machine_that_slept_before_the_first_byte_sends_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lease ended meanwhile, and another may have bought: nothing leaves, and that is known."""
    sleepy = Sleepy(monkeypatch)
    with RawServer(answer(200, {"request_id": "r1"})) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(UnreachableError, match="the machine slept") as caught:
                await client.submit(ENDPOINT, BODY, before_sending=sleepy.sleep)
    assert caught.value.billed is Billed.NO
    assert server.methods in ([], [""])


async def test_a_machine_that_slept_before_the_body_sends_no_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a request is none; but nobody can be sure what became of it."""
    sleepy = Sleepy(monkeypatch)

    async def trace(gate: post._Gate, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.complete"):
            await sleepy.sleep()
        await heard(gate, event, info)

    heard = post._Gate.__call__
    monkeypatch.setattr(post._Gate, "__call__", trace)
    with RawServer(answer(200, {"request_id": "r1"})) as server:
        async with AsyncFalClient(server.access()) as client:
            with pytest.raises(SubmitUnknownError, match="the machine slept"):
                await client.submit(ENDPOINT, BODY)
    assert not any(b"red fox" in each.body for each in server.requests)
