"""The HTTP clients below everything: what each may carry, and whose errors they raise."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import anyio
import httpx
import pytest
from file_server import smallest_video
from raw_server import BODY, RawServer, Reply, answer, closed_port, events
from roads import generate, order_of

from benchmarks.transports import FLOOR, HTTPX, LIGHT, choice
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.road import acquire
from prefect_hailuo.engine.session import Session
from prefect_hailuo.fal import transport
from prefect_hailuo.fal.read_transport import ReadTransport
from prefect_hailuo.fal.transport import (
    MOST_ANSWER_BYTES,
    DirectClient,
    Rate,
    open_http,
    open_reading,
)

ROOT = Path(__file__).parents[2]

HEAD_ONLY = Reply(answer(200, {"a": 1}).data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

FAULTS: dict[str, tuple[Reply, type[httpx.RequestError]]] = {
    "closed unanswered": (Reply(), httpx.ReadError),
    "reset unanswered": (Reply(ending="reset"), httpx.ReadError),
    "no HTTP": (Reply(b"220 ready\r\n"), httpx.RequestError),
    "cut in the body": (answer(200, {"a": 1}).cut(by=3), httpx.ReadError),
    "no body": (HEAD_ONLY, httpx.ReadError),
    "cut in a chunk": (events("data: 1\n\n", whole=False), httpx.ReadError),
    "silent": (Reply(ending="hang"), httpx.ReadTimeout),
    "silent in the body": (Reply(HEAD_ONLY.data, "hang"), httpx.ReadTimeout),
}


@pytest.mark.parametrize(("reply", "kind"), FAULTS.values(), ids=list(FAULTS))
async def test_errors_are_httpxs_own(reply: Reply, kind: type[httpx.RequestError]) -> None:
    """Whatever befalls a read: code that knows httpx's errors knows these, with their request."""
    with RawServer(reply) as server:
        async with open_reading() as http:
            with pytest.raises(httpx.RequestError) as caught:
                await http.get(server.url, timeout=0.3)
    assert isinstance(caught.value, kind)
    assert caught.value.request.url == server.url


async def test_a_refused_connection_is_no_timeout() -> None:
    """As httpx itself says it: nothing was sent."""
    with closed_port() as url:
        async with open_reading() as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(url)


async def test_a_purchase_never_goes_over_it() -> None:
    """A POST is refused before a connection is made: what became of it could not be told."""
    with RawServer(answer(200, {})) as server:
        async with open_reading() as http:
            with pytest.raises(ValueError, match="httpx's own transport"):
                await http.post(server.url, json=BODY)
        assert server.connections == 0


async def test_the_loop_buys_over_httpxs_own_transport() -> None:
    """And reads over aiohttp's."""

    async def job(connections: Connections, emit: Emit) -> list[str]:
        assert isinstance(connections.http, DirectClient)
        used = (connections.purchases, connections.http.transport)
        return [type(each).__name__ for each in used]

    assert process_loop().run(job) == ["AsyncHTTPTransport", "ReadTransport"]


@pytest.mark.parametrize("opened", [open_http, open_reading])
async def test_no_cookie_is_sent_back(opened: type[httpx.AsyncClient]) -> None:
    """What a server wants remembered is forgotten: no request tells of another."""
    with RawServer(answer(200, {}, {"Set-Cookie": "who=you; Path=/"})) as server:
        async with opened() as http:
            for _ in range(2):
                await http.get(server.url)
    assert len(server.requests) == 2
    assert not any("cookie" in request.headers for request in server.requests)


async def test_redirects_are_not_followed() -> None:
    """The key stays where it was sent."""
    with RawServer(answer(302, b"", {"Location": "https://fal.example/"})) as server:
        async with open_reading() as http:
            assert (await http.get(server.url)).status_code == 302


async def test_behind_a_proxy_reads_go_over_httpxs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows all kinds of proxies; and what goes to this machine passes none."""
    with RawServer(answer(403, {})) as proxy, RawServer(answer(200, {})) as here:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with open_reading() as http:
            assert not isinstance(http.transport, ReadTransport)
            with pytest.raises(httpx.ProxyError):
                await http.get("https://fal.example/")
            assert (await http.get(here.url)).status_code == 200
            with closed_port() as nobody, pytest.raises(httpx.ConnectError):
                await http.get(nobody.replace("http:", "https:"))
        assert proxy.methods == ["CONNECT"]


async def test_a_rate_is_kept_by_all_together() -> None:
    """Thirty requests at twenty a second take a second and a half, whoever sends them."""
    rate = Rate(per_second=20)
    with RawServer(answer(200, {})) as server:
        began = time.monotonic()
        async with open_reading(rate) as http, anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(http.get, server.url)
        took = time.monotonic() - began
    assert (took > 1.4, server.connections) == (True, 30)


async def test_no_rate_is_no_wait() -> None:
    """By default nothing waits for its turn."""
    with anyio.fail_after(1):
        for _ in range(10_000):
            await Rate().turn()


def test_the_rate_is_a_setting(
    tiny: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets it has it kept by the next generation; who takes it away is free again."""

    async def per_second(connections: Connections, emit: Emit) -> float | None:
        return connections.rate.per_second

    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_REQUESTS_PER_SECOND", "500")
    generate(tiny, tmp_path)
    assert process_loop().run(per_second) == 500
    monkeypatch.delenv("PREFECT_INTEGRATIONS_HAILUO_REQUESTS_PER_SECOND")
    generate(tiny, tmp_path, take=2)
    assert process_loop().run(per_second) is None


def test_a_purchase_waits_for_its_turn_before_its_claim(tmp_path: Path) -> None:
    """Its lease is not spent on waiting: while it waits, the ledger knows of no attempt."""
    with FalEmulator(speed=1000, clip=smallest_video()) as emulator:
        order = order_of(emulator, tmp_path)

        async def job(connections: Connections, emit: Emit) -> list[bool]:
            ledger = connections.ledgers.at(order.ledger)

            async def is_known() -> bool:
                return await ledger.claims.latest(order.key) is not None

            connections.rate.per_second = 1
            await connections.rate.turn()
            try:
                async with anyio.create_task_group() as tasks:
                    session = Session(order.access, order.ledger, connections)
                    tasks.start_soon(acquire, order, session)
                    await anyio.sleep(0.3)
                    waiting = await is_known()
            finally:
                connections.rate.per_second = None
            return [waiting, await is_known()]

        assert process_loop().run(job) == [False, True]
        assert emulator.requests["submit"] == 1


@pytest.mark.campaign
def test_the_comparison_of_transports_measures_all() -> None:
    """In miniature: each contender's cost of each kind of read, and what follows from it."""
    command = [sys.executable, "-m", "benchmarks.transports", "--scale", "0.06", "--repeats", "1"]
    done = subprocess.run(
        [*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert len(figures) == 7
    for costs in figures.values():
        assert set(costs) == {HTTPX, LIGHT, FLOOR}
        assert all(cost > 0 for cost in costs.values())


def test_the_choice_follows_from_the_figures() -> None:
    """The light transport is taken where it is lighter, and only there."""
    assert "4% to 50%" in choice({"a": {HTTPX: 2, LIGHT: 1}, "b": {HTTPX: 100, LIGHT: 4}})
    assert "not worth" in choice({"a": {HTTPX: 2, LIGHT: 1}, "b": {HTTPX: 1, LIGHT: 4}})


def bomb(encoding: str = "gzip") -> Reply:
    """A hundred kilobytes that are a hundred megabytes."""
    packed = gzip.compress(b" " * (100 << 20))
    if encoding != "gzip":
        packed = gzip.compress(packed)
    return answer(200, packed, {"Content-Encoding": encoding})


@pytest.mark.parametrize("reply", [bomb(), bomb("gzip, gzip")], ids=["once", "twice"])
async def test_a_packed_answer_does_not_fill_the_memory(reply: Reply) -> None:
    """Nothing is asked for in packed form, and what comes so is unpacked up to a bound."""
    for opened in (open_reading(), open_http()):
        tracemalloc.start()
        with RawServer(reply) as server:
            async with opened as http:
                with pytest.raises(httpx.DecodingError):
                    await http.get(server.url)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 3 * MOST_ANSWER_BYTES
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_an_answer_packed_unasked_is_read() -> None:
    """Some gateways do it."""
    for packed, encoding in ((gzip.compress(b"{}"), "gzip"), (zlib.compress(b"{}"), "deflate")):
        with RawServer(answer(200, packed, {"Content-Encoding": encoding})) as server:
            async with open_reading() as http:
                assert (await http.get(server.url)).json() == {}


async def test_an_endless_answer_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a question nor by a purchase."""
    monkeypatch.setattr(transport, "MOST_ANSWER_BYTES", 10)
    for opened in (open_reading(), open_http()):
        with RawServer(Reply(b"HTTP/1.1 200 OK\r\n\r\n", "trickle")) as server:
            async with opened as http:
                with pytest.raises(httpx.DecodingError, match="longer than 10 bytes"):
                    await http.get(server.url)
