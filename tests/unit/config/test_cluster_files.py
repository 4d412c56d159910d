"""The Ray cluster files against the installed Ray's own schema, and against our own promises."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import resources

FOLDER = resources.folder("cluster")
FILES = sorted(FOLDER.glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def commands(config: dict[str, Any]) -> list[str]:
    return [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]


def test_there_is_one_for_own_nodes_and_one_for_a_cloud():
    kinds = {load(path)["provider"]["type"] for path in FILES}
    assert kinds == {"local", "aws"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rays_own_schema_and_checks_take_it(path):
    import jsonschema
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = load(path)
    jsonschema.validate(config, schema)
    validate_config(prepare_config(copy.deepcopy(config)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "min_worker": 1}, schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_token_is_on_and_the_dashboard_inside(path):
    config = load(path)
    starts = [line for line in commands(config) if "ray start" in line]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert any("chmod 600 ~/.ray/auth_token" in line for line in config["setup_commands"])
    assert any(target.endswith(".ray/auth_token") for target in config["file_mounts"])
    assert not re.search(r"[0-9a-f]{32}", path.read_text()), "a token in the file"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_jobs_find_the_interpreter_that_was_installed(path):
    config = load(path)
    starts = [line for line in commands(config) if "ray start" in line]
    assert all("HAD_PYTHON=$HOME/had-venv/bin/python" in line for line in starts)
    assert any("--constraint" in line for line in config["setup_commands"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_to_be_filled_in_is_explained(path):
    readme = (FOLDER / "README.md").read_text()
    text = "\n".join(line.partition("#")[0] for line in path.read_text().splitlines())
    wanted = set(re.findall(r"\b(?:[A-Z]+_(?:\w+_)?I[DP]|USER|SHARED)\b", text))
    wanted -= {"RAY_HEAD_IP"}
    assert wanted
    assert [name for name in sorted(wanted) if name not in readme] == []
