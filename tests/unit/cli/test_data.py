"""`had data`: what it writes, prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from had_core.data.manifest import MANIFEST_FILE
from had_core.data.shards import ShardDataset
from had_core.errors import BadInput
from orchestrator.cli.main import app
from orchestrator.config import compose


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_data_build_and_check(tmp_path: Path) -> None:
    out = tmp_path / "rooms"
    size = ("--train", "3", "--test", "2", "--height", "16", "--width", "16")
    done = call("data", "build", "rooms", "--out", str(out), *size, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == {"train": 3, "test": 2}
    assert "sound; fingerprint" in call("data", "check", str(out)).stdout
    shard = next(out.rglob("*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    done = call("data", "check", str(out))
    assert done.exit_code == 2
    assert shard.name in done.stdout
    report = json.loads(call("data", "check", str(out), "--json").stdout)
    assert report["ok"] is False
    assert shard.name in report["problems"][0]


def test_a_damaged_manifest_is_bad_input(micro_dataset: ShardDataset, tmp_path: Path) -> None:
    raw = json.loads((micro_dataset.path / MANIFEST_FILE).read_text())
    raw["splits"]["train"]["count"] += 1
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(raw))
    for words in (["check", str(tmp_path)], ["build", "rooms", "--out", str(tmp_path)]):
        done = call("data", *words)
        assert done.exit_code == 2
        assert done.stderr.startswith("had: '") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "check", "/does/not/exist"], "/does/not/exist"),
        (["data", "build", "roms"], "roms is not allowed: rooms"),
        (
            ["data", "build", "rooms", "--train", "0"],
            "--train': Input should be greater",
        ),
        (
            ["data", "build", "rooms", "--test", "1000001"],
            "--test': Input should be less than or equal to 1000000",
        ),
        (["data", "import", "nyu", "a", "b"], "nyu is not allowed: nyuv2"),
        (["data", "import", "nyuv2", "/does/not/exist", "/tmp/never"], "/does/not/exist"),
    ],
)
def test_data_errors_name_what_is_wrong(words: list[str], said: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not Path("/tmp/never").exists()


def test_the_built_folder_is_the_one_the_configuration_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[Path] = []

    def build(folder: str, config: Any) -> Any:
        written.append(Path(folder).absolute())
        raise BadInput("enough")

    monkeypatch.setattr("had_core.data.rooms.build", build)
    monkeypatch.chdir(tmp_path)
    call("data", "build", "rooms", "--train", "7")
    assert [str(path) for path in written] == [compose(["dataset.build.train=7"]).dataset.path]
