"""What is shipped, what may be imported, what is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from had_core.errors import HadError
from orchestrator import resources

ROOT = Path(__file__).resolve().parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE_MAY_IMPORT = {"had_core", "numpy", "pyarrow", "safetensors", "torch"}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_had_core_imports_five_libraries_and_nothing_else() -> None:
    files = sorted((ROOT / "had_core").rglob("*.py"))
    assert len(files) > 20
    extra = {file.name: imported(file) - CORE_MAY_IMPORT for file in files}
    # Pillow reads pictures for a trained net, inside the function that does, where there are any.
    assert {file: names for file, names in extra.items() if names} == {"images.py": {"PIL"}}
    top = ast.parse((ROOT / "had_core/data/images.py").read_text()).body
    assert not any(
        "PIL" in ast.unparse(n) for n in top if isinstance(n, ast.Import | ast.ImportFrom)
    )


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Every line of constraints.txt: name -> the rest of the line."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, separator, rest = line.partition("==")
            assert separator, f"{line} is not pinned"
            found[canonical(name)] = rest
    return found


def test_every_dependency_is_pinned_with_a_reason() -> None:
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {canonical(re.split(r"[\[<>=!~ ]", text)[0]) for text in wanted}
    with_reason = {name for name, rest in pins().items() if "# " in rest}
    assert names == with_reason


def test_the_libraries_the_packages_import_are_declared() -> None:
    declared = {
        canonical(re.split(r"[\[<>=!~ ]", text)[0]) for text in PROJECT["project"]["dependencies"]
    }
    distribution = {"hydra": "hydra-core", "PIL": "pillow"}
    for package in ("had_core", "orchestrator"):
        for file in (ROOT / package).rglob("*.py"):
            for name in imported(file) - {"had_core", "orchestrator"}:
                assert canonical(distribution.get(name, name)) in declared, f"{file}: {name}"


@pytest.mark.parametrize("name", ["experiments", "cluster"])
def test_resources_are_found_where_the_wheel_puts_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resources.folder(name) == ROOT / name
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"][name]
    (tmp_path / shipped).mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "orchestrator")
    assert resources.folder(name) == tmp_path / shipped


def test_an_incomplete_installation_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "orchestrator")
    with pytest.raises(HadError, match="install it again"):
        resources.folder("experiments")


def test_the_documents_of_json_output_name_every_key() -> None:
    from dataclasses import fields

    from orchestrator.cli.checks import Check
    from orchestrator.display import comparison, results, summary, sweep_results
    from orchestrator.plan import DryRun, DryRunRow

    text = (ROOT / "docs" / "json.md").read_text()
    shown = (
        results.RunResult,
        results.SequenceResult,
        results.StageResult,
        results.StageFailure,
        results.RerunResult,
        summary.Spread,
        summary.OrderSummary,
        summary.MethodSummary,
        comparison.Paired,
        sweep_results.SweepResult,
        sweep_results.TrialResult,
        sweep_results.OrderResult,
        DryRun,
        DryRunRow,
        Check,
    )
    for cls in shown:
        for field in fields(cls):
            shown_as = (f"`{field.name}`", f'"{field.name}"')
            assert any(name in text for name in shown_as), f"{cls.__name__}.{field.name}"
