"""Starting, stopping, counting, serving many."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from prefect_hailuo.emulator import EMULATOR_KEY, FalEmulator, ManualClock, serve

from .asking import HAILUO_02, HAILUO_23, Asking, eventually


def test_the_tallies(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """Stats over HTTP without a key, the same in Python, in these very words."""
    ids = [fal.buy() for _ in range(3)]
    clock.advance(100)
    fal.status(ids[0]), fal.result(ids[0]), fal.cancel(ids[2])
    httpx.get(fal.video_url(ids[0]))
    told = httpx.get(f"{emulator.url}/_emulator/stats").json()
    assert told == emulator.stats()
    assert told == {
        "charged": 2,
        "submitted": 3,
        "running": 1,
        "completed": 2,
        "requests": {"submit": 3, "status": 1, "stream": 0, "result": 2, "cancel": 1, "media": 1},
    }


def test_charges_are_counted_in_dollars(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """What fal would have charged, by the catalogue's prices, once however often it is asked."""
    fal.buy(endpoint=HAILUO_23), fal.buy(endpoint=HAILUO_02)
    clock.advance(100)
    assert [str(emulator.charged_usd), str(emulator.charged_usd)] == ["0.97", "0.97"]


def test_credentials_lead_to_it(emulator: FalEmulator) -> None:
    """The block carries the key, the realm and the four addresses."""
    credentials = emulator.credentials()
    key = credentials.api_key
    assert (key.get_secret_value() if key else None, credentials.realm) == (
        EMULATOR_KEY,
        "emulator",
    )
    assert credentials.queue_url == emulator.url
    assert credentials.platform_url == f"{emulator.url}/platform/v1"


def test_it_listens_on_loopback_only(emulator: FalEmulator) -> None:
    """Unless another host is said, nobody else can reach it."""
    assert emulator.url.startswith("http://127.0.0.1:")


def test_it_starts_and_stops_at_once() -> None:
    """Nobody waits for either, and no thread is left behind."""
    before, started = set(threading.enumerate()), time.monotonic()
    with FalEmulator(clip="plain"):
        pass
    assert time.monotonic() - started < 3
    assert set(threading.enumerate()) <= before


def test_its_port_is_free_when_it_has_stopped() -> None:
    """A restarted emulator can take the same port, and knows none of the first one's requests."""
    with FalEmulator() as first:
        port = int(first.url.rpartition(":")[2])
        fal = Asking(first)
        with fal.http:
            request_id = fal.buy()
    with FalEmulator(port=port) as second:
        fal = Asking(second)
        with fal.http:
            assert fal.status(request_id).status_code == 404


def test_a_taken_port_is_told(emulator: FalEmulator) -> None:
    """The caller gets the operating system's error."""
    with pytest.raises(OSError, match="in use"):
        FalEmulator(port=int(emulator.url.rpartition(":")[2])).start()


def test_nonsense_is_refused(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match="speed"):
        FalEmulator(speed=0)
    with pytest.raises(ValueError, match="concurrency"):
        FalEmulator(concurrency=0)
    with pytest.raises(ValueError, match="clip"):
        FalEmulator(clip="pretty")  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No such file"):
        FalEmulator(certificate=tmp_path / "none", private_key=tmp_path / "none").start()


def test_it_is_started_once() -> None:
    """A second start is a mistake, and said to be one."""
    emulator = FalEmulator()
    with emulator, pytest.raises(RuntimeError, match="make another"):
        emulator.start()


def test_speed_hurries_the_model_not_the_reader() -> None:
    """At a thousandfold speed two minutes take an instant, and a result is still kept an hour."""
    with FalEmulator(speed=100_000, clip="plain") as emulator:
        fal = Asking(emulator)
        with fal.http:
            request_id = fal.buy()
            time.sleep(0.1)
            assert fal.result(request_id).status_code == 200


def test_durations_can_be_chosen(clock: ManualClock) -> None:
    """A number for all, or a function of the submission."""
    by_prompt = {"quick": 1.0, "slow": 50.0}
    with FalEmulator(clock=clock, durations=lambda each: by_prompt[each.body["prompt"]]) as mine:
        fal = Asking(mine)
        with fal.http:
            quick, slow = fal.buy("quick"), fal.buy("slow")
            clock.advance(2)
            assert [fal.state(quick), fal.state(slow)] == ["COMPLETED", "IN_PROGRESS"]


def test_usual_durations_are_the_endpoints(clock: ManualClock) -> None:
    """By default a generation takes about what people report, the same in every run."""
    with FalEmulator(clock=clock) as emulator:
        fal = Asking(emulator)
        with fal.http:
            request_id = fal.buy()
            clock.advance(95)
            assert fal.state(request_id) == "IN_PROGRESS"
            clock.advance(30)
            assert fal.state(request_id) == "COMPLETED"


def test_hundreds_of_streams_at_once() -> None:
    """Hundreds of requests are followed at once, and all are told of their end within seconds."""
    with FalEmulator(durations=1, concurrency=300, clip="plain") as emulator:
        ends = asyncio.run(_follow(emulator, 300))
    assert ends == ["COMPLETED"] * 300
    assert emulator.charged == 300


async def _follow(emulator: FalEmulator, count: int) -> list[str]:
    headers = {"Authorization": f"Key {emulator.api_key}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=emulator.url, headers=headers, limits=limits, timeout=60
    ) as client:

        async def follow() -> str:
            accepted = await client.post(f"/{HAILUO_23}", json={"prompt": "x"})
            last = ""
            async with client.stream("GET", accepted.json()["status_url"] + "/stream") as stream:
                async for line in stream.aiter_lines():
                    last = line or last
            return "COMPLETED" if '"COMPLETED"' in last else last

        return list(await asyncio.gather(*(follow() for _ in range(count))))


def test_it_can_be_used_from_many_threads(fal: Asking, emulator: FalEmulator) -> None:
    """Submissions at the same time are each accepted once, each with an id of its own."""
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda number: fal.buy(f"Prompt {number}"), range(100)))
    assert len(set(ids)) == len(emulator.submissions) == 100


def test_serving_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It says where it is and how to use it, and in the end what it would have cost."""
    port, done = _free_port(), threading.Event()
    thread = threading.Thread(target=serve, args=(port, 1000.0), kwargs={"until": done})
    thread.start()
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Key {EMULATOR_KEY}"}
    with httpx.Client(transport=httpx.HTTPTransport(retries=5), headers=headers) as client:
        client.post(f"{url}/{HAILUO_23}", json={"prompt": "x"})
        assert eventually(lambda: client.get(f"{url}/_emulator/stats").json()["charged"] == 1)
    done.set()
    thread.join()
    said = capsys.readouterr().out
    assert f'FalCredentials.for_emulator("{url}")' in said
    assert "fal would have charged 1, $0.49." in said


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
