"""``had export``'s program and example, as their reader runs them. Needs no Ray, but seconds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sealed_net import HEIGHT, ORDER, WIDTH, SealedNet

from had_core.program import export as export_program
from orchestrator.app.book.exporting import export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def netted(tmp_path_factory):
    return SealedNet(tmp_path_factory.mktemp("netted") / "store")


@pytest.fixture(scope="module")
def exported(netted, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "net"
    return export(netted.key[:12], str(out), netted.store.uri), out


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_the_program_computes_what_the_net_computes(exported, netted):
    """Bit for bit, on another number of images than it was exported with."""
    result, out = exported
    program = torch.export.load(out / "model.pt2").module()
    for count in (1, 5):
        batch = images(count, HEIGHT, WIDTH)
        with torch.no_grad():
            wanted, found = netted.net(batch), program(batch)
        assert list(found) == list(ORDER)
        assert all(torch.equal(found[task], wanted[task]) for task in ORDER)
    assert result.difference == 0 and not result.any_size


def test_a_program_for_any_size_takes_any_size(netted, tmp_path):
    made = export_program(netted.net, 48, 64)
    assert made.any_size and made.smallest <= 48
    (tmp_path / "model.pt2").write_bytes(made.data)
    program = torch.export.load(tmp_path / "model.pt2").module()
    for size in ((1, 48, 64), (3, 50, 101), (2, made.smallest, made.smallest)):
        batch = images(*size)
        with torch.no_grad():
            wanted, found = netted.net(batch), program(batch)
        assert all(torch.equal(found[task], wanted[task]) for task in ORDER), size


def test_the_program_holds_no_pickle_and_no_path(exported):
    with zipfile.ZipFile(exported[1] / "model.pt2") as file:
        contents = {name: file.read(name) for name in file.namelist()}
    for first in (b"\x80", b"PK"):  # a bare pickle, and one that torch.save wrapped
        assert not [name for name, data in contents.items() if data.startswith(first)]
    configs = [data for name, data in contents.items() if name.endswith("_config.json")]
    assert len(configs) == 2
    for raw in configs:
        entries = json.loads(raw)["config"].values()
        assert entries and not any(entry["use_pickle"] for entry in entries)
    assert not [name for name, data in contents.items() if str(ROOT).encode() in data]


def test_the_cards_code_runs(exported, monkeypatch):
    card = (exported[1] / "card.md").read_text()
    assert f"any number of images of {HEIGHT}x{WIDTH}" in card
    first, second = re.findall(r"```python\n(.*?)```", card, re.S)
    monkeypatch.chdir(exported[1])
    names = {"images": np.zeros((1, 16, 20, 3), np.float32)}
    exec(first, names)
    assert set(names["predictions"]) == set(ORDER)
    exec(second, names)
    assert names["outputs"]["depth"].shape == (1, 1, HEIGHT, WIDTH)


def test_the_example_runs_in_a_process_of_its_own(exported, netted, tmp_path):
    """With had_core beside it and neither the orchestrator nor what that needs."""
    folder = tmp_path / "net"
    folder.mkdir()
    for path in exported[1].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "had_core").symlink_to(ROOT / "had_core")
    np.save(tmp_path / "image.npy", np.zeros((17, 23, 3), np.float32))
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[2]);"
        "runpy.run_path(sys.argv[0], run_name='__main__');"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'orchestrator', 'mlflow', 'ray', 'pyarrow', 'PIL', 'hydra'}), sys.modules['had_core'])"
    )
    example = [str(folder / "load_example.py"), str(tmp_path / "image.npy")]
    done = subprocess.run(
        [sys.executable, "-c", code.replace("sys.argv[2]", repr(str(folder))), *example],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"stage {netted.key}, image of 17x23 pixels" in done.stdout
    assert "depth: scalar, float32 [17, 23]" in done.stdout
    assert "[] <module 'had_core' from" in done.stdout and str(folder) in done.stdout
