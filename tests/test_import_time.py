"""What importing the package costs: nothing that is not needed.

Times are noisy; what was loaded is not.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import pytest
from children import run_forked, run_python
from prefect.blocks.core import Block
from prefect.settings import get_current_settings

import prefect_hailuo
from prefect_hailuo import block_types

HEAVY = {
    *("sqlalchemy", "alembic", "aiosqlite", "asyncpg", "av", "PIL", "cryptography"),
    *("fastapi", "starlette", "uvicorn", "cyclopts", "slugify", "prefect.server"),
    *("prefect_hailuo.cli", "prefect_hailuo.emulator"),
}
"""What takes long to load, and what most flows need late or never."""


def loaded_by(code: str) -> set[str]:
    """The modules that a piece of code loads in a new interpreter."""
    program = f"""\
import sys
before = set(sys.modules)
{code}
print(*sorted(set(sys.modules) - before))
"""
    child = run_python(program, before="")
    assert child.code == 0, child.stderr
    return set(child.stdout.split())


def test_importing_the_package_loads_none_of_it() -> None:
    """Neither Prefect nor a single module of ours is loaded before something is asked for."""
    loaded = loaded_by("import prefect_hailuo")
    assert {name for name in loaded if name.startswith("prefect")} == {"prefect_hailuo"}
    assert {name.partition(".")[0] for name in loaded} <= {
        "prefect_hailuo",
        *sys.stdlib_module_names,
    }


def test_a_flow_loads_nothing_heavy() -> None:
    """What a flow's file imports brings nothing heavy that Prefect has not brought already."""
    names = ["hailuo_23_pro_text_to_video", "FalCredentials", "Budget", "cancel_generations"]
    before = "import sys\nfrom prefect import flow, task\nbefore = set(sys.modules)"
    telling = "print(*sorted(set(sys.modules) - before))"
    said = run_forked(before, [f"from prefect_hailuo import {name}\n{telling}" for name in names])
    for name, line in zip(names, said.splitlines(), strict=True):
        assert "prefect_hailuo.runs.blocks" in line.split()
        assert not HEAVY & set(line.split()), name


def test_has_every_name_that_it_promises() -> None:
    """The package has all its names, shows them, and gives them all to who asks for all."""
    given: dict[str, object] = {}
    exec("from prefect_hailuo import *", given)  # noqa: S102 - no function may do that
    assert set(prefect_hailuo.__all__) == set(given) - {"__builtins__"}
    assert set(prefect_hailuo.__all__) <= set(dir(prefect_hailuo))
    assert all(given[name] is getattr(prefect_hailuo, name) for name in prefect_hailuo.__all__)


def test_type_checkers_see_what_is_there() -> None:
    """Type checkers read of each name, and of no other, from which module it comes."""
    homes = vars(prefect_hailuo)["_homes"]()
    assert list(homes.keys() ^ prefect_hailuo.__all__) == []
    assert all(
        getattr(import_module(home), name) is getattr(prefect_hailuo, name)
        for name, home in homes.items()
    )


def test_modules_are_there_without_being_imported() -> None:
    """Whoever imported the package may go on to its modules, as it ever was."""
    loaded = loaded_by("import prefect_hailuo; prefect_hailuo.errors.HailuoError")
    assert {"prefect_hailuo.errors"} <= loaded


@pytest.mark.parametrize("name", ["hailuo_99_pro_text_to_video", "_private", "__wrapped__"])
def test_says_who_has_no_such_name(name: str) -> None:
    """A wrong name is an AttributeError that names the module and the name."""
    with pytest.raises(AttributeError, match=f"'prefect_hailuo' has no attribute '{name}'"):
        getattr(prefect_hailuo, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from prefect_hailuo import {name}")  # noqa: S102 - the name is the test's own


def test_every_block_is_among_the_block_types() -> None:
    """No block type is forgotten by the module that Prefect imports for them."""
    for module in pkgutil.iter_modules(prefect_hailuo.__path__, "prefect_hailuo."):
        import_module(module.name)
    ours = {each.__name__ for each in blocks_below(Block) if is_ours(each)}
    assert ours == set(block_types.__all__) == ours & set(prefect_hailuo.__all__)


def blocks_below(block: type[Block]) -> set[type[Block]]:
    """All classes that a class of blocks has under it."""
    below = set(block.__subclasses__())
    return below.union(*map(blocks_below, below))


def is_ours(block: type[Block]) -> bool:
    """Whether a block comes with the package, and is not a generic one with its type filled in."""
    return block.__module__.startswith("prefect_hailuo.") and "[" not in block.__name__


@pytest.mark.parametrize("before", ["", "import prefect_hailuo\n"])
def test_prefect_finds_blocks_by_their_slugs(before: str) -> None:
    """Prefect knows each block type by its slug alone, as `Block.load` asks for it."""
    slugs = [getattr(block_types, name).get_block_type_slug() for name in block_types.__all__]
    code = """
        import sys
        from prefect.blocks.core import Block
        print(*(Block.get_block_class_from_key(slug).__name__ for slug in sys.argv[1:]))
    """
    child = run_python(code, *slugs, before=before)
    assert (child.stdout.split(), child.stderr) == (block_types.__all__, "")


@pytest.mark.usefixtures("prefect_server")
def test_prefects_command_registers_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """`prefect block register -m prefect_hailuo` still finds all blocks in the package."""
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    monkeypatch.setenv("PREFECT_HOME", str(get_current_settings().home))
    code = "import runpy, sys; runpy.run_module('prefect', run_name='__main__')"
    child = run_python(code, "block", "register", "-m", "prefect_hailuo", before="")
    assert child.code == 0, child.stderr
    for name in block_types.__all__:
        assert getattr(block_types, name).get_block_type_name() in child.stdout
