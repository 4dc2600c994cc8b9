"""One event loop for the process, in a thread of its own, and what all jobs on it share.

All input and output runs here: a synchronous caller waits for it, an asynchronous one awaits it.
So everything is written once, as coroutines, and shares one connection pool and one ledger engine.
The jobs emit events, which are handled on the caller's side: Prefect's own input and output would
stall every other job here.

anyio's `start_blocking_portal` is not used: the generator that it keeps hangs a forked child and
is noisy at interpreter exit. The thread here is ours.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import httpx
from anyio.from_thread import BlockingPortal

from prefect_hailuo.clock import Clock
from prefect_hailuo.fal.client import AsyncFalClient
from prefect_hailuo.fal.follow import Supervisor
from prefect_hailuo.fal.hosts import Access, Hosts
from prefect_hailuo.fal.outage import UNWITNESSED, Reachability, Witness
from prefect_hailuo.fal.transport import FRESH, Rate, open_http, open_reading, open_transport
from prefect_hailuo.storage.download import Downloads
from prefect_hailuo.storage.pictures import Pictures

if TYPE_CHECKING:
    from prefect_hailuo.ledger.ledger import Ledgers

YOUNG_OBJECTS = 20_000
"""After how many new objects Python's garbage collector runs while much is in flight. By default it
runs after 700, and finds no garbage in what thousands of generations hold: that took a fifth of the
processor time of a batch of 1,000."""

_users = 0
_usual: tuple[int, int, int] = gc.get_threshold()


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Run Python's garbage collector less often for a while, if it runs at all.

    Example:
        >>> with seldom_collecting():
        ...     gc.get_threshold()[0] >= YOUNG_OBJECTS
        True
    """
    global _users, _usual
    if _users == 0:
        _usual = gc.get_threshold()
        if 0 < _usual[0] < YOUNG_OBJECTS:
            gc.set_threshold(YOUNG_OBJECTS, *_usual[1:])
    _users += 1
    try:
        yield
    finally:
        _users -= 1
        if _users == 0:
            gc.set_threshold(*_usual)


T = TypeVar("T")

SUBMISSIONS_AT_ONCE = 250
"""How many purchases are under way at once: enough to share the ledger's transactions, and few
enough for each to be over long before its lease is."""

POSTS_AT_ONCE = 48
"""How many of them are being sent: httpcore looks at all that are at every change of its pool."""


@dataclass(frozen=True)
class Connections:
    """What the jobs of a process share."""

    http: httpx.AsyncClient
    """For fal's API."""
    purchases: httpx.AsyncBaseTransport
    """For what is sent once, and only once."""
    downloads: Downloads
    """For what fal serves; apart, so that downloads and questions do not starve each other."""
    pictures: Pictures
    """What inputs name: read, checked, and brought to fal."""
    supervisor: Supervisor
    """Decides when fal is asked about each request that the process waits for."""
    rate: Rate
    """How many requests a second fal's API is sent."""
    submissions: anyio.Semaphore
    """Counts the purchases that may still be begun; who waits for it has claimed nothing yet."""
    posts: anyio.Semaphore
    """Counts the POSTs that may still be sent at once."""
    ledgers: Ledgers
    """The ledgers that were opened."""
    reaches: dict[Hosts, Reachability] = field(default_factory=dict)
    """Whether fal can be asked, by its hosts."""

    def client(
        self, access: Access, clock: Clock | None = None, witness: Witness = UNWITNESSED
    ) -> AsyncFalClient:
        """An account's client on these connections."""
        return AsyncFalClient(access, self.http, clock, self.purchases, witness)

    def reach(self, hosts: Hosts) -> Reachability:
        """Whether these hosts can be asked."""
        return self.reaches.setdefault(hosts, Reachability())


@asynccontextmanager
async def open_connections() -> AsyncIterator[Connections]:
    """All of them, on the running event loop."""
    # Here, for SQLAlchemy takes a while to load: a flow that is only imported does not wait for it.
    from prefect_hailuo.ledger.ledger import open_ledgers

    rate = Rate()
    async with AsyncExitStack() as stack:
        yield Connections(
            http=await stack.enter_async_context(open_reading(rate)),
            purchases=await stack.enter_async_context(open_transport(FRESH)),
            downloads=Downloads(await stack.enter_async_context(open_reading())),
            pictures=Pictures(await stack.enter_async_context(open_http())),
            supervisor=Supervisor(),
            rate=rate,
            submissions=anyio.Semaphore(SUBMISSIONS_AT_ONCE, fast_acquire=True),
            posts=anyio.Semaphore(POSTS_AT_ONCE, fast_acquire=True),
            ledgers=await stack.enter_async_context(open_ledgers()),
        )


Emit = Callable[[object], None]
Job = Callable[[Connections, Emit], Awaitable[T]]


def ignore(event: object) -> None:
    """Handle an event by doing nothing."""


GRACE_SECONDS = 20.0
"""How long a cancelled job is waited for. A submission under way is not interrupted, and its
ticket is worth the wait; Prefect kills a cancelled process after 30 s."""

EXIT_SECONDS = 5.0
"""How long the interpreter's exit waits for the loop to end."""


class StoppedError(BaseException):
    """The process is stopping, so the work was given up.

    Not an `Exception` on purpose: Prefect would retry the task, and so buy anew what was
    cancelled a moment ago.
    """


class Watch:
    """Follows a job from outside of the loop; this one does nothing."""

    def started(self, cancel: Callable[[], object]) -> None:
        """The job runs; `cancel` gives it up, from any thread."""

    def interrupted(self, at: float) -> None:
        """The caller was interrupted while it waited; the job is about to be given up.

        Args:
            at: When, on the machine's monotonic clock.
        """


UNWATCHED = Watch()


async def aignore(event: object) -> None:
    """The asynchronous twin of `ignore`."""


class _Done:
    """Marks the end of a job's events."""


class ProcessLoop:
    """An event loop in a thread of its own, until the interpreter exits."""

    def __init__(self) -> None:
        self._portal: BlockingPortal
        self._connections: Connections
        self._started: Future[None] = Future()
        self._stopping = False
        self._waking = True
        self._jobs = 0
        self._thread = threading.Thread(target=self._run, name="prefect-hailuo", daemon=True)
        self._thread.start()
        self._started.result()

    def run(
        self, job: Job[T], handle: Callable[[Any], None] = ignore, watch: Watch = UNWATCHED
    ) -> T:
        """Run a job and wait for it, from a thread without an event loop of its own.

        Args:
            job: Called on the loop with the shared connections and a function to emit events.
            handle: Called here, in this thread, with each event.
            watch: Told how it goes.

        Raises:
            StoppedError: The process is stopping.
        """
        events: queue.SimpleQueue[object] = queue.SimpleQueue()
        future: Future[T] | None = None
        try:
            future = self._start(job, events.put)
            watch.started(future.cancel)
            while not isinstance(event := events.get(), _Done):
                handle(event)
        except BaseException as error:
            try:
                if _is_interruption(error):
                    watch.interrupted(time.monotonic())
            finally:
                if future is not None:
                    future.cancel()
                    _handle_the_rest(events, handle)
            raise
        return _outcome(future)

    async def arun(
        self,
        job: Job[T],
        handle: Callable[[Any], Awaitable[None]] = aignore,
        watch: Watch = UNWATCHED,
    ) -> T:
        """Run a job and await it, from any event loop of the caller's.

        Args:
            job: Called on the loop with the shared connections and a function to emit events.
            handle: Awaited here, on the caller's loop, with each event.
            watch: Told how it goes, in a thread where it may take a while.

        Raises:
            StoppedError: The process is stopping.
        """
        events: asyncio.Queue[object] = asyncio.Queue()
        callers = asyncio.get_running_loop()

        def put(event: object) -> None:
            with suppress(RuntimeError):  # the caller's loop has closed: nobody listens any more
                callers.call_soon_threadsafe(events.put_nowait, event)

        future = self._start(job, put)
        try:
            watch.started(future.cancel)
            while not isinstance(event := await events.get(), _Done):
                await handle(event)
        except BaseException as error:
            try:
                if _is_interruption(error):
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(watch.interrupted, time.monotonic())
            finally:
                future.cancel()
            with anyio.move_on_after(GRACE_SECONDS, shield=True):
                while not isinstance(event := await events.get(), _Done):
                    with suppress(Exception):
                        await handle(event)
            raise
        return _outcome(future)

    @property
    def crowded(self) -> bool:
        """Whether many generations wait here at once, or did a moment ago."""
        return self._connections.supervisor.crowded

    def close(self, *, waking: bool = True) -> None:
        """Cancel the jobs, wait for them shortly, close the connections, end the thread.

        Args:
            waking: Whether callers that wait for a job get a `StoppedError`. At the interpreter's
                exit only daemon threads are left, whose errors would be noise.
        """
        self._waking = waking
        self._stopping = True
        with suppress(RuntimeError):
            self._portal.start_task_soon(self._portal.stop, True)
        self._thread.join(EXIT_SECONDS)

    def _start(self, job: Job[T], put: Emit) -> Future[T]:
        if threading.current_thread() is self._thread:
            raise RuntimeError("A job asked the loop that it runs on to run another: await it.")

        async def carry() -> T:
            self._jobs += 1
            try:
                return await job(self._connections, put)
            except (SystemExit, KeyboardInterrupt) as error:
                # It would end the loop, and with it every other job.
                raise RuntimeError(f"A job raised {error!r}.") from error
            finally:
                self._jobs -= 1
                if not self._jobs:
                    self._connections.supervisor.disperse()
                if self._waking:
                    put(_Done())

        try:
            if not self._stopping:
                return self._portal.start_task_soon(carry)
        except RuntimeError:
            if not self._stopping:
                raise
        raise StoppedError("The process is stopping.")

    def _run(self) -> None:
        try:
            anyio.run(self._serve, backend_options={"use_uvloop": is_uvloop_there()})
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        # Left in the reverse order: first the jobs end, then the connections that they use.
        async with AsyncExitStack() as stack:
            self._connections = await stack.enter_async_context(open_connections())
            self._portal = await stack.enter_async_context(BlockingPortal())
            self._started.set_result(None)
            await self._portal.sleep_until_stopped()


def is_uvloop_there() -> bool:
    """Whether uvloop is installed, by the extra `fast`: it takes a tenth off what a video costs."""
    is_cpython = platform.python_implementation() == "CPython"
    return is_cpython and sys.platform != "win32" and find_spec("uvloop") is not None


def _is_interruption(error: BaseException) -> bool:
    """Whether an exception interrupted the caller, and is neither the job's nor its handler's."""
    return not isinstance(error, Exception | StoppedError)


def _handle_the_rest(events: queue.SimpleQueue[object], handle: Callable[[Any], None]) -> None:
    with suppress(queue.Empty):
        while not isinstance(event := events.get(timeout=GRACE_SECONDS), _Done):
            with suppress(Exception):  # it must not take the place of what is raised
                handle(event)


def _outcome(future: Future[T]) -> T:
    try:
        return future.result()
    except (CancelledError, asyncio.CancelledError):
        raise StoppedError("The process is stopping.") from None


_lock = threading.Lock()
_loop: ProcessLoop | None = None
_abandoned: list[Any] = []


def process_loop() -> ProcessLoop:
    """The loop of this process, started when it is first wanted.

    Safe to call from any thread. A forked child gets one of its own.

    Example:
        >>> async def job(connections, emit):
        ...     emit("half way")
        ...     return 42
        >>> process_loop().run(job, print)
        half way
        42
    """
    global _loop
    with _lock:
        if _loop is None:
            _loop = ProcessLoop()
            atexit.register(_loop.close, waking=False)
        return _loop


def _forget_parents_loop() -> None:
    """In a forked child: the parent's thread is not here, and its lock may be held for ever.

    The parent's loop is kept alive, for its finalizers would talk to a loop that nobody runs.
    """
    global _lock, _loop
    _lock = threading.Lock()
    if _loop is not None:
        atexit.unregister(_loop.close)
        _abandoned.append(_loop)
        _loop = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_loop)
