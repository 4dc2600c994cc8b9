"""The options of a purchase: the name, type, default and meaning of each, once.

A function takes them as `**options: Unpack[PurchaseOptions]`, which type checkers and editors read.
`show_options` names each of them in its signature and its docstring, so that `help()` shows them
and Prefect, which binds arguments by the signature, knows each as a parameter of the task: for
`.map`, for the cache key and in forms.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import Any, TypedDict, TypeVar, get_args, get_type_hints

from typing_extensions import ParamSpec, Self

from prefect_hailuo.engine.order import OnAmbiguous, OnLost
from prefect_hailuo.runs.blocks import Budget, Credentials
from prefect_hailuo.runs.storage import Storage

P = ParamSpec("P")
R = TypeVar("R")


class SubmitOptions(TypedDict, total=False):
    """Those of `PurchaseOptions` that concern the request alone, as `submit_video` takes them."""

    credentials: Credentials
    take: int | str
    labels: dict[str, str] | None
    budget: Budget | str | None
    on_ambiguous: OnAmbiguous


class PurchaseOptions(SubmitOptions, total=False):
    """What can be said of a purchase: who pays, where the video is kept, what to do if it is lost.

    Use it to type functions of your own that hand the options on to a task.

    Args:
        credentials: A `FalCredentials` block, or a saved block's name. By default, `FAL_KEY` in
            the environment.
        storage: A directory; or a Prefect block that can store files, or its name as
            `"block:<type>/<name>"`. By default, a directory in Prefect's home.
        take: Which of several videos of the same input: a number, or any text, such as the run's
            scheduled date for a clip a day.
        timeout_seconds: How long to wait for fal, in seconds; by default half an hour. Passing it
            loses nothing: the error carries the ticket.
        labels: Your own words for it, such as shot and client; kept in the records.
        budget: The `Budget` that pays, or the name of its scope. By default, the scope that the
            settings name, which has no limit unless somebody gave it one.
        on_ambiguous: What to do where fal's answer to a purchase was lost, and its history does
            not tell what became of it: `"park"` it with an error that asks for a decision, or
            `"resubmit"` it, once, which may pay twice.
        on_lost: What to do where the stored file is nowhere any more, nor at fal: `"raise"` an
            error, or `"resubmit"`, which pays again.

    Example:
        >>> from prefect_hailuo import Video, hailuo_23_pro_text_to_video
        >>> from prefect_hailuo.emulator import FalEmulator
        >>> from typing_extensions import Unpack
        >>> def fox(**options: Unpack[PurchaseOptions]) -> Video:
        ...     return hailuo_23_pro_text_to_video("A red fox.", **options)
        >>> with FalEmulator(speed=1000, clip="plain") as emulator:
        ...     fox(credentials=emulator.credentials(), take="2026-06-05").take
        '2026-06-05'
    """

    storage: Storage
    timeout_seconds: float | None
    on_lost: OnLost


DEFAULTS: PurchaseOptions = {
    "credentials": None,
    "storage": None,
    "take": 0,
    "timeout_seconds": None,
    "labels": None,
    "budget": None,
    "on_ambiguous": "park",
    "on_lost": "raise",
}
"""What holds for an option that is not given; in the order in which they are shown."""


def with_defaults(options: PurchaseOptions) -> PurchaseOptions:
    """All options: the given ones, and the defaults of the others.

    Raises:
        TypeError: There is no such option; the message names the nearest.

    Example:
        >>> with_defaults({"take": 2})["on_lost"]
        'raise'
        >>> with_defaults({"on_loss": "raise"})
        Traceback (most recent call last):
        TypeError: got an unexpected keyword argument 'on_loss'. Did you mean 'on_lost'?
    """
    _check_names(options, DEFAULTS)
    return {**DEFAULTS, **options}


def show_options(function: Callable[P, R], *described: type) -> Callable[P, R]:
    """Name each option of a function in its signature and in its docstring; the function itself.

    In the docstring's arguments, ``options: As for `PurchaseOptions`.`` becomes a line or more for
    each option, and ``prompt, duration: As for `SomeInput`.`` becomes what that class says of them.

    Args:
        function: Takes `**options: Unpack[...]`.
        described: Classes whose docstrings tell about arguments, besides the options.

    Example:
        >>> from typing_extensions import Unpack
        >>> @show_options
        ... def buy(prompt: str, **options: Unpack[SubmitOptions]) -> None:
        ...     '''Buy it.
        ...
        ...     Args:
        ...         options: As for `SubmitOptions`.
        ...     '''
        >>> list(inspect.signature(buy).parameters)
        ['prompt', 'credentials', 'take', 'labels', 'budget', 'on_ambiguous']
        >>> "labels: Your own words for it" in buy.__doc__
        True
    """
    written = inspect.signature(function).parameters
    read = inspect.signature(function, eval_str=True)
    parameters = [_Parameter.of(each, written[name]) for name, each in read.parameters.items()]
    [options] = get_args(parameters.pop().annotation)
    hints = get_type_hints(options)
    for name, default in DEFAULTS.items():
        if name in hints:
            given = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            text = options.__annotations__[name].__forward_arg__
            parameters.append(
                _Parameter.of(given.replace(annotation=hints[name]), given.replace(annotation=text))
            )
    function.__dict__["__signature__"] = _Signature(
        parameters, return_annotation=read.return_annotation
    )
    said = {each.__name__: _meanings(each.__doc__) for each in described}
    said[options.__name__] = {name: text for name, text in MEANINGS.items() if name in hints}
    function.__doc__ = _described(function.__doc__, said)
    return function


class _Parameter(inspect.Parameter):
    """A parameter with a type that is shown as it was written.

    Python would show everything that pydantic reads of it.
    """

    shown = ""

    @classmethod
    def of(cls, read: inspect.Parameter, written: inspect.Parameter) -> Self:
        one = cls(read.name, read.kind, default=read.default, annotation=read.annotation)
        one.shown = str(written)
        return one

    def __str__(self) -> str:
        return self.shown or super().__str__()


class _Signature(inspect.Signature):
    """A signature that says which parameter was meant, where an argument's name is misspelt."""

    def bind(self, /, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        _check_names(kwargs, self.parameters)
        return super().bind(*args, **kwargs)


def _check_names(given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}."
            raise TypeError(f"got an unexpected keyword argument {name!r}. {hint}")


_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8}.+)*)", re.MULTILINE)

_AS_FOR = re.compile(r"^( +)(\w+(?:, \w+)*):\s+As for `(\w+)`\.$", re.MULTILINE)


def _meanings(doc: str | None) -> dict[str, str]:
    """What a docstring says of each argument."""
    entries = _ENTRY.findall(inspect.cleandoc(doc or ""))
    return {name: text for names, text in entries for name in names.split(", ")}


MEANINGS = _meanings(PurchaseOptions.__doc__)
"""What each option means."""


def _described(doc: str | None, said: dict[str, dict[str, str]]) -> str | None:
    """A docstring in which "As for ..." is what the other says; its own words come first."""
    own = _meanings(doc).keys()

    def told(found: re.Match[str]) -> str:
        indent, names, source = found.groups()
        if source not in said:
            return found.group()
        listed = said[source].keys() - own if names == "options" else names.split(", ")
        entries = [f"    {name}: {text}" for name, text in said[source].items() if name in listed]
        return textwrap.indent("\n".join(entries), indent[4:])

    return doc and _AS_FOR.sub(told, doc)
