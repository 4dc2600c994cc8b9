"""All requests that a process waits for, over HTTP: every end is seen, and little is asked."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from children import run_python
from file_server import smallest_video
from raw_server import BODY, ENDPOINT
from roads import FOX, Hundredfold, generate, order_of

from prefect_hailuo.clock import Deadline
from prefect_hailuo.emulator import FalEmulator, Fault, ManualClock, cut, refuse
from prefect_hailuo.engine import road
from prefect_hailuo.engine.events import Logged, Progress
from prefect_hailuo.engine.loop import Connections, Emit, process_loop
from prefect_hailuo.engine.session import Session
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.follow import CROWD, Supervisor, follow
from prefect_hailuo.fal.messages import Completed, InProgress, Status
from prefect_hailuo.ticket import Ticket

COUNT = 100

FLY_WITH_FEW_DESCRIPTORS = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    from pathlib import Path
    import anyio
    from pydantic import SecretStr
    from prefect_hailuo.models.catalogue import Hailuo02ProTextToVideo
    from prefect_hailuo.fal.hosts import Access, Hosts
    from prefect_hailuo.engine.road import bring, generate
    from prefect_hailuo.engine.session import Session
    from prefect_hailuo.ledger.address import ledger_address
    from prefect_hailuo.engine.loop import process_loop
    from prefect_hailuo.engine.order import Order
    from prefect_hailuo.storage.place import Directory

    url, folder, ledger_url = sys.argv[1:]
    access = Access(
        SecretStr("emulator:no-real-key"), Hosts(url, url, url, url), "emulator", "emulator"
    )
    ledger = ledger_address(ledger_url, "emulator", Path(folder))
    fox = Hailuo02ProTextToVideo(prompt="A red fox crosses a snowy field.")
    videos = []

    async def job(connections, emit):
        async def one(take):
            order = Order(fox, access, Directory(folder), ledger, take=take)
            videos.append(await bring(order, Session(access, ledger, connections)))

        async with anyio.create_task_group() as tasks:
            for take in range(200):
                tasks.start_soon(one, take)
        return connections.supervisor.free_streams

    streams = process_loop().run(job)
    print(streams, sum(video.is_there() for video in videos))
"""


async def follow_all(
    emulator: FalEmulator, supervisor: Supervisor, count: int = COUNT
) -> list[Completed]:
    """Submit, and wait for all of them side by side."""
    done: list[Completed] = []

    async with AsyncFalClient(emulator.credentials().access()) as client:

        async def one(ticket: Ticket) -> None:
            deadline = Deadline(120)
            done.append(await follow(client, ticket, deadline, lambda _: None, supervisor))

        tickets = [await client.submit(ENDPOINT, BODY) for _ in range(count)]
        async with anyio.create_task_group() as tasks:
            for ticket in tickets:
                tasks.start_soon(one, ticket)
    return done


FAULTS: dict[str, tuple[list[Fault], float, float]] = {
    "as it should be": ([], 6, 3),
    "no streams": ([refuse("stream", 405, count=None)], 20, 0.6),
    "streams that drop": ([cut("stream", 150, count=None)], 20, 10),
}


@pytest.mark.parametrize(("faults", "each", "streams"), FAULTS.values(), ids=list(FAULTS))
async def test_a_crowd_is_seen_to_its_end(faults: list[Fault], each: float, streams: float) -> None:
    """Whatever fal's streams do, at the cost of a few requests each; a fal without streams is soon
    believed, and no stream is left open."""
    with FalEmulator(speed=2000, clip=b"", concurrency=4, faults=faults) as emulator:
        supervisor = Supervisor(streams=20)
        done = await follow_all(emulator, supervisor)
        listened = emulator.requests["stream"]
        asked = listened + emulator.requests["status"]
    assert len(done) == COUNT
    assert asked <= each * COUNT
    assert listened <= streams * COUNT
    assert (supervisor.free_streams, supervisor.seats) == (20, 0)


@pytest.mark.parametrize("drops", [0, 2])
def test_one_long_video_costs_a_dozen_requests(drops: int, tmp_path: Path) -> None:
    """Eight minutes, from the purchase to the file, also where its stream drops twice."""
    time = ManualClock()

    def handle(event: object) -> None:
        if isinstance(event, Progress) and isinstance(event.status, InProgress):
            time.advance(480)

    faults = [cut("stream", 60, count=drops)] if drops else []
    with FalEmulator(clock=time, durations=480, clip=smallest_video(), faults=faults) as emulator:
        video = generate(emulator, tmp_path, handle=handle)
        assert video.is_there()
        assert sum(emulator.requests.values()) <= 12


def test_few_descriptors_are_enough(tmp_path: Path, ledger_url: str) -> None:
    """With 256 of them, 200 generations at once take few streams, and all arrive."""
    with FalEmulator(speed=1000, clip=smallest_video(), concurrency=40) as emulator:
        child = run_python(FLY_WITH_FEW_DESCRIPTORS, emulator.url, tmp_path, ledger_url)
        assert child.code == 0, child.stderr
        streams, arrived = map(int, child.stdout.split())
        assert (streams < 10, arrived, emulator.charged) == (True, 200, 200)
    assert "Too many open files" not in child.stderr


async def test_a_queue_is_kept_no_longer_than_its_clock() -> None:
    """What was learned stays for the machine's clock alone; no other one is held on to."""
    supervisor = Supervisor(streams=1)
    ticket = Ticket(endpoint=ENDPOINT, request_id="r1")
    with FalEmulator(clip=b"") as emulator:
        access = emulator.credentials().access()
    clock = Hundredfold()
    with supervisor.seat(access, ticket, clock, 0.0):
        assert not supervisor.is_news(access, ticket, clock)
    gone = weakref.ref(clock)
    del clock
    gc.collect()
    assert gone() is None


def test_who_is_not_looked_at_tells_changes_only(tmp_path: Path) -> None:
    """One of a batch: no log lines, and no word that nothing has changed."""
    events: list[object] = []
    with FalEmulator(clip=smallest_video(), durations=0.5) as emulator:
        order = order_of(emulator, tmp_path)

        async def job(connections: Connections, emit: Emit) -> None:
            time = Hundredfold()
            session = Session(order.access, order.ledger, connections, emit, time, watched=False)
            await road.generate(order, session)

        process_loop().run(job, events.append)
    told = [event.status for event in events if isinstance(event, Progress)]
    assert len(told) == len({type(status) for status in told}) <= 3
    assert not any(isinstance(event, Logged) for event in events)


def test_how_long_it_took_is_learned_from_the_ledger(tmp_path: Path) -> None:
    """The first that waits in a new process knows what fal said of earlier ones."""
    learned: list[list[float]] = []

    class Pupil(Supervisor):
        def learn(self, *about: Any) -> None:
            learned.append(about[-1])
            super().learn(*about)

    with FalEmulator(speed=1000, clip=smallest_video(), realm="fal", durations=77) as emulator:
        generate(emulator, tmp_path)
        order = order_of(emulator, tmp_path, take=2)

        async def job(connections: Connections, emit: Emit) -> list[float]:
            fresh = replace(connections, supervisor=Pupil(streams=4))
            await road.generate(order, Session(order.access, order.ledger, fresh))
            ledger = connections.ledgers.at(order.ledger)
            return await ledger.records.durations(FOX.endpoint.id)

        assert process_loop().run(job) == [77, 77]
    assert learned == [[77]]


async def test_a_crowd_that_settles_together_takes_no_more_streams_than_there_are() -> None:
    """Who pauses before it listens looks again whether a stream is still to be had."""
    supervisor = Supervisor(streams=CROWD + 4)
    least = CROWD + 4

    def see(status: Status) -> None:
        nonlocal least
        least = min(least, supervisor.free_streams)

    with FalEmulator(durations=3, speed=1, clip=b"", concurrency=2 * CROWD) as emulator:
        async with AsyncFalClient(emulator.credentials().access()) as client:
            bodies = [{"prompt": f"Clip {number}."} for number in range(CROWD + 24)]
            tickets = [await client.submit(ENDPOINT, body) for body in bodies]
            async with anyio.create_task_group() as tasks:
                for ticket in tickets:
                    tasks.start_soon(follow, client, ticket, Deadline(60), see, supervisor)
    assert least == 0
