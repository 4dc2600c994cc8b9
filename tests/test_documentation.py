"""The documentation is built, has every public name, and loads nothing from anywhere else."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import shell_snippets
import yaml  # type: ignore[import-untyped]

import prefect_hailuo
from flows.batch import main as batch
from prefect_hailuo import emulator as emulator_module
from prefect_hailuo import errors, flows
from prefect_hailuo.emulator import FalEmulator
from prefect_hailuo.models.catalogue import CATALOGUE
from prefect_hailuo.runs.options import MEANINGS

ROOT = Path(__file__).parent.parent

LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\s\">]+)|<link\b[^>]*>")

ANCHOR = re.compile(r'id="(prefect_hailuo\.[\w.]+)"')

MODULES = {errors.__name__, emulator_module.__name__}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The documentation as its readers have it."""
    made = tmp_path_factory.mktemp("site")
    build = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(made),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield made


def test_the_reference_lists_exactly_what_is_public(site: Path) -> None:
    """Each public name once, under its own name, with its docstring; and nothing else."""
    pages = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    found = Counter(ANCHOR.findall(pages))
    public = {f"prefect_hailuo.{name}" for name in prefect_hailuo.__all__}
    for module in (errors, emulator_module):
        public |= {module.__name__, *(f"{module.__name__}.{name}" for name in module.__all__)}
    public |= {f"{flows.__name__}.{name}.{name}" for name in flows.__all__}
    assert {name for name in found if _is_of_its_own(name, public)} == public
    assert max(found.values()) == 1
    assert all(getattr(prefect_hailuo, name).__doc__ for name in prefect_hailuo.__all__)


def _is_of_its_own(name: str, public: set[str]) -> bool:
    """Whether it is no method or field of a public class."""
    return name in public or name.rpartition(".")[0] not in public - MODULES


def test_the_reference_explains_each_option(site: Path) -> None:
    """At `generate_video` and at each model's task, in the words of `PurchaseOptions`."""
    page = (site / "reference" / "tasks.html").read_text()
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    for name, meaning in MEANINGS.items():
        first = meaning.splitlines()[0].replace("`", "")
        assert shown.count(first) > len(CATALOGUE), name
    assert "As for PurchaseOptions" not in shown


def test_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    """Neither fonts, nor scripts, nor pictures: it is read offline, and nobody hears of it."""
    for page in site.rglob("*.html"):
        for found in LOADED.finditer(page.read_text()):
            is_canonical = 'rel="canonical"' in found.group() or "rel=canonical" in found.group()
            assert is_canonical or "//" not in found.group(), (page, found.group())


def test_the_commands_page_has_every_command(site: Path) -> None:
    """With what each takes, from the commands themselves."""
    page = (site / "reference" / "commands.html").read_text()
    for name in ("emulator", "estimate", "spend", "ledger resolve", "ledger import", "run batch"):
        assert f"prefect-hailuo {name}" in page


def test_the_readme_is_short() -> None:
    """What it is, how to try it, where to read on."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 165


def snippet(language: str, page: str) -> str:
    """The first snippet of a page that is in some language."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert found
    return found.group(1)


def test_the_tutorials_rows_are_planned_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], emulator: FalEmulator
) -> None:
    """Four rows, of which one repeats another: three videos."""
    rows = tmp_path / "rows.csv"
    rows.write_text(snippet("text", "tutorial.md"))
    assert batch([str(rows), "--emulator", emulator.url, "--plan"]) == 0
    said = capsys.readouterr().out
    assert "3 of 3 to buy" in said and "repeat another: 1" in said


def test_the_tutorials_schedule_is_the_deployments_but_for_what_it_changes() -> None:
    """So that it can be put in the place of the one in `prefect.yaml`."""
    [told] = yaml.safe_load(snippet("yaml", "tutorial.md"))["schedules"]
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    [there] = [each for each in deployments if each["entrypoint"] == "flows/batch.py:batch"]
    [schedule] = there["schedules"]
    assert told.keys() == schedule.keys() and told["slug"] == schedule["slug"]
    assert (schedule["active"], told["active"]) == (False, True)


WRONG = [
    "prefect-hailuo ledger forget KEY",
    "prefect-hailuo spend --by week",
    "prefect deployment start batch/default",
    "python flows/batches.py",
    "python flows/text_to_video.py --emulator",
    "prefect-hailuo run text-to-video --emulator",
    "prefect-hailuo run batches rows.csv",
    "prefect-hailuo doctor --emulator",
    "python -m benchmarks.nothing",
    "export PREFECT_INTEGRATIONS_HAILUO_TIMEOUT=3600",
    "export PREFECT_INTEGRATIONS_HAILUO_TIMEOUT_SECONDS=soon",
    "export PREFECT_API_ADDRESS=http://127.0.0.1:4200/api",
    "curl https://fal.run",
]


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_shell_line_would_be_found(line: str) -> None:
    """A command, an option or a setting that there is not, or a value that it does not take."""
    with pytest.raises((Exception, pytest.fail.Exception)):
        shell_snippets.check_line(line)
