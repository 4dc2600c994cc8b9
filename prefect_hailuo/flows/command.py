"""What the commands of the flows share: their options, and how a flow is run and its result shown.

A flow's command ends with 0, with 1 where the flow did not do all that was asked of it, and with 2
for a wrong call.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

import httpx
from cyclopts import App, CycloptsError, Parameter
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from pydantic import BaseModel, TypeAdapter, ValidationError

from prefect_hailuo.errors import BatchError, ConfigurationError, HailuoError
from prefect_hailuo.fal.messages import EMULATOR_SPEED
from prefect_hailuo.flows.model_names import text_models
from prefect_hailuo.flows.row_files import looks_like_file
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.runs.blocks import FalCredentials, resolve_credentials

Result = TypeVar("Result")
Summary = TypeVar("Summary", bound=BaseModel)

PATIENCE = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120}
"""On a slow machine, the temporary server of a first run takes longer than Prefect's 20 s."""

WRONG_CALL = 2
"""The exit code for a command line that cannot be understood."""

UNREACHED = ("Failed to reach API", "Timed out while attempting to connect to ephemeral")
"""How Prefect's errors begin, where there is no server."""

NO_SERVER = (
    "Prefect's server cannot be reached. Start it with `prefect server start`, check "
    "PREFECT_API_URL, or unset it for a temporary server; then run it again: what was bought is "
    "found, and nothing is bought twice."
)

if TYPE_CHECKING:
    AnyModelName = str
    TextModelName = str
else:
    AnyModelName = Literal[tuple(each.endpoint.name for each in CATALOGUE.values())]
    TextModelName = Literal[tuple(text_models())]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """The options of every flow's command."""

    emulator: Annotated[
        str | None,
        Parameter(
            help="Spend nothing: use the emulator at this URL or, without a URL, one that is "
            "started for this run."
        ),
    ] = None
    json: Annotated[
        bool,
        Parameter(help="Print what the flow returns, as JSON.", negative="", show_default=False),
    ] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PurchaseOptions(FlowOptions):
    """The options of a command that buys."""

    prompt_optimizer: Annotated[
        bool, Parameter(help="Whether MiniMax may rewrite prompts.", show_default=False)
    ] = True
    take: Annotated[str, Parameter(help="Another take of the same prompt is another purchase.")] = (
        "0"
    )
    output: Annotated[str | None, Parameter(help="Where the videos and clips go.")] = None
    budget: Annotated[str | None, Parameter(help="The name of the scope that pays.")] = None

    def parameters(self, credentials: FalCredentials) -> dict[str, Any]:
        """The flow's parameters that these options are for."""
        return {
            "prompt_optimizer": self.prompt_optimizer,
            "take": self.take,
            "storage": self.output,
            "budget": self.budget,
            "credentials": credentials,
        }


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ApprovalOptions(PurchaseOptions):
    """The options of a command that can plan a purchase, and ask for an approval."""

    plan: Annotated[
        bool,
        Parameter(help="Say what it would cost, and end there.", negative="", show_default=False),
    ] = False
    approve_above: Annotated[
        float | None, Parameter(help="Spend no more US dollars than this unapproved.")
    ] = None
    yes: Annotated[
        bool, Parameter(help="Approve the cost, whatever it is.", negative="", show_default=False)
    ] = False

    @property
    def approve_above_usd(self) -> float | None:
        """Above which cost a person is asked, in US dollars; None: never."""
        return None if self.yes else self.approve_above

    def parameters(self, credentials: FalCredentials) -> dict[str, Any]:
        """The flow's parameters that these options are for."""
        approval = {"approve_above_usd": self.approve_above_usd}
        return super().parameters(credentials) | approval


def flow_app(name: str) -> App:
    """The command of a flow, to which its function is added.

    Example:
        >>> app = flow_app("count")
        >>> @app.default
        ... def count(*words: str, options: FlowOptions = FlowOptions()) -> int:
        ...     print(words, options)
        ...     return 0
        >>> run_flow_app(app, ["a", "b", "--emulator", "--json"])
        ('a', 'b') FlowOptions(emulator='', json=True)
        0
    """
    return App(name=name, version_flags=())


def run_flow_app(app: App, arguments: Sequence[str] | None = None) -> int:
    """Run a flow's command.

    Args:
        app: The command.
        arguments: What follows its name; None: what this process was started with.

    Returns:
        Its exit code; 2 where the arguments are wrong, which standard error then says.
    """
    return run_app(app, complete(sys.argv[1:] if arguments is None else arguments))


def run_app(app: App, arguments: Sequence[str]) -> int:
    """Run any command, as `run_flow_app` does, with its arguments as they are."""
    try:
        code = app(list(arguments), exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return WRONG_CALL
    return code if isinstance(code, int) else 0


def complete(arguments: Sequence[str]) -> list[str]:
    """A command's arguments, in which `--emulator` always has a value: without a URL, it is empty.

    Example:
        >>> complete(["An owl.", "--emulator", "--json"])
        ['An owl.', '--emulator=', '--json']
    """
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    for place, word in enumerate(words[:end]):
        following = words[place + 1 : end]
        if word == "--emulator" and (not following or following[0].startswith("-")):
            words[place] = "--emulator="
    return words


def run_flow_command(
    options: FlowOptions,
    run: Callable[[FalCredentials], Result],
    text: Callable[[Result], str],
    *,
    needs_key: bool = True,
) -> Result | None:
    """Run a flow for a command, and print what it returns, or why it could not.

    Args:
        options: The command's.
        run: Runs the flow with these credentials.
        text: How to print its result where no JSON was asked for.
        needs_key: Whether it can do nothing without a key.

    Returns:
        The flow's result; None where there is none, after a line on standard error.
    """
    try:
        with _credentials(options.emulator) as credentials:
            if needs_key:
                credentials.access()  # a missing key is told before a server is started
            with temporary_settings(set_defaults=PATIENCE):
                result = run(credentials)
    except ValidationError as error:
        why = "; ".join(f"{_field(each['loc'])}{each['msg']}" for each in error.errors())
    except HailuoError as error:
        why = str(error)
    except (RuntimeError, httpx.TransportError) as error:
        if not _is_without_server(error):
            raise
        why = NO_SERVER
    else:
        say(_json(result) if options.json else text(result), sys.stdout)
        return result
    say(f"error: {why}", sys.stderr)
    return None


def run_to_summary(run: Coroutine[Any, Any, Any], kind: type[Summary]) -> Summary:
    """What a flow made; where some of its videos failed, the summary that its error has.

    Args:
        run: The flow's run.
        kind: The summary's class.

    Raises:
        HailuoError: The flow failed, and there is no summary.
    """
    try:
        return kind.model_validate(asyncio.run(run))
    except BatchError as error:
        if error.summary is None:
            raise
        return kind.model_validate(error.summary)


def refuse_file_names(*prompts: str) -> None:
    """Refuse prompts of a command that look like a file's name: these commands read no file.

    Raises:
        ConfigurationError: One of them looks like a file's name.

    Example:
        >>> refuse_file_names("A fox.", "prompts.txt")
        Traceback (most recent call last):
        prefect_hailuo.errors.ConfigurationError: 'prompts.txt' looks like a file's name ...
    """
    for each in prompts:
        if looks_like_file(each):
            raise ConfigurationError(
                f"{each.strip()[:60]!r} looks like a file's name or address, and no prompt; "
                "nothing was bought.",
                cure="For the rows of a file: prefect-hailuo run batch --file …. To have a video "
                "of these words, say more of it.",
            )


def _is_without_server(error: Exception) -> bool:
    """Whether Prefect's server cannot be reached, which Prefect says in one of several ways."""
    return isinstance(error, httpx.TransportError) or str(error).startswith(UNREACHED)


def say(line: str, stream: TextIO) -> None:
    """Print a line; what the stream's encoding has no character for is written as JSON does it.

    A Windows console, or a pipe, may lack characters that a prompt has; the line is printed all
    the same.
    """
    encoding = stream.encoding or "utf-8"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = "".join(_written(each, encoding) for each in line)
    print(line, file=stream)


def _written(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return dumps(character)[1:-1]
    return character


def _json(result: object) -> str:
    return TypeAdapter(type(result)).dump_json(result).decode()


def _field(location: Sequence[int | str]) -> str:
    return f"{location[0]}: " if location else ""


@contextmanager
def _credentials(emulator: str | None) -> Iterator[FalCredentials]:
    """fal's from the environment, a running emulator's, or those of one for this run."""
    if emulator is None:
        yield resolve_credentials(None)
    elif emulator:
        yield FalCredentials.for_emulator(emulator)
    else:
        from prefect_hailuo.emulator import FalEmulator

        with FalEmulator(speed=EMULATOR_SPEED) as started:
            yield started.credentials()
