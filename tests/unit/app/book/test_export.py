"""``had export``: what the files say and hold, and that there are all or none."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sealed_net import HEIGHT, WIDTH, SealedNet

from had_core.errors import BadInput
from had_core.portable import load
from had_core.program import Program, ProgramDiffers
from orchestrator.app.book.exporting import export

FILES = {"model.safetensors", "model.pt2", "load_example.py", "card.md"}


@pytest.fixture(scope="module")
def netted(tmp_path_factory):
    return SealedNet(tmp_path_factory.mktemp("netted") / "store")


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Without torch's program, which takes seconds: tests/ray/test_export_program.py makes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("had_core.program.export", lambda *args: Program(b"program", True, 9, 0.0))
        yield


@pytest.fixture(scope="module")
def exported(netted, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "net"
    return export(netted.key[:12], str(out), netted.store.uri), out


def test_the_files_are_what_the_result_says(exported):
    import hashlib

    result, out = exported
    assert {p.name for p in out.iterdir()} == FILES == {file.name for file in result.files}
    for file in result.files:
        data = (out / file.name).read_bytes()
        assert (file.size, file.digest) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_weights_load_into_the_same_net(exported, netted):
    net = load(exported[1] / "model.safetensors")
    assert net.tasks == tuple(netted.tasks)
    assert net.about["stage_key"] == netted.key
    wanted = netted.net.state_dict()
    found = net.net.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert not net.net.training


def test_the_example_runs_and_imports_had_core_alone(exported, netted, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["load_example.py"])
    source = (exported[1] / "load_example.py").read_text()
    assert set(re.findall(r"^(?:from|import) (\w+)", source, re.M)) == {
        *("__future__", "sys", "pathlib", "numpy", "had_core")
    }
    runpy.run_path(str(exported[1] / "load_example.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert netted.key in shown
    assert f"normal: unit_vector, float32 [{HEIGHT}, {WIDTH}, 3]" in shown
    assert " m\n" in shown


def test_the_card_says_what_it_is(exported, netted):
    card = (exported[1] / "card.md").read_text()
    for text in (
        netted.key,
        "semantic > depth > normal > edge_occlusion",
        "| depth | scalar | float32 `[height, width]`: value, m |",
        "wall, floor, ceiling",
        "| depth | abs_err ↓ | 45.0 m |",
        "a" * 64,
        f"it was trained on\n{HEIGHT}x{WIDTH}, and",
        "0.485, 0.456, 0.406",
        "any number of images of any size from 9x9 on",
        f"had rerun {netted.key[:12]}",
        *(f"`{stage.key}`" for stage in netted.stages),
        "Apache-2.0",
        *(f"`{file.digest}`" for file in exported[0].files if file.name != "card.md"),
    ):
        assert text in card, text
    (settings,) = re.findall(r"```json\n(.*?)```", card, re.S)
    assert json.loads(settings)["method"]["name"] == "had"


def test_the_place_must_be_free(netted, tmp_path):
    out = tmp_path / "net"
    out.mkdir()
    (out / "precious").write_text("mine")
    with pytest.raises(BadInput, match="exists and holds files"):
        export(netted.key, str(out), netted.store.uri)
    assert [p.name for p in out.iterdir()] == ["precious"]
    (out / "precious").unlink()
    export(netted.key, str(out), netted.store.uri)
    assert {p.name for p in out.iterdir()} == FILES


def test_a_program_that_differs_leaves_nothing(netted, tmp_path, monkeypatch):
    def differs(*args):
        raise ProgramDiffers("the exported program differs from the net by 1")

    monkeypatch.setattr("had_core.program.export", differs)
    with pytest.raises(ProgramDiffers):
        export(netted.key, str(tmp_path / "net"), netted.store.uri)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_interrupted_leaves_nothing(netted, tmp_path, monkeypatch):
    real = Path.write_bytes

    def interrupted(self, data):
        if self.name == "card.md":
            raise KeyboardInterrupt
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(netted.key, str(tmp_path / "net"), netted.store.uri)
    assert list(tmp_path.iterdir()) == []


def test_the_command(netted, tmp_path, monkeypatch, had):
    monkeypatch.setenv("HAD_STORE", netted.store.uri)
    done = had("export", netted.key[:10], str(tmp_path / "net"))
    assert done.exit_code == 0, done.output
    assert "model.safetensors" in done.stdout and "load_example.py IMAGE" in done.stdout
    refused = had("export", "0" * 12, str(tmp_path / "other"))
    assert refused.exit_code == 2 and "begins no fit" in refused.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda raw: b"not weights", "not a safetensors file"),
        (lambda raw: raw.replace(b'\\"format\\": 1', b'\\"format\\": 9'), "format=9"),
        (lambda raw: raw.replace(b'\\"depth\\"', b'\\"other\\"'), "Missing key|Error"),
        (lambda raw: raw.replace(b"tiny", b"tidy"), "net.encoder"),
    ],
)
def test_files_that_hold_no_net_are_refused(exported, tmp_path, change, sentence):
    raw = (exported[1] / "model.safetensors").read_bytes()
    changed = change(raw)
    assert changed != raw
    (tmp_path / "model.safetensors").write_bytes(changed)
    with pytest.raises(BadInput, match=f"holds no trained net: .*({sentence})"):
        load(tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((1, 8, 8), np.float32), r"shape \[1, 8, 8\]"),
        (np.zeros((1, 3, 8, 8), np.float32), r"shape \[1, 3, 8, 8\]"),
        (np.zeros((1, 8, 8, 3), np.uint8), "type uint8"),
        (np.zeros((0, 8, 8, 3), np.float32), "one pixel or more"),
        (np.full((1, 8, 8, 3), 2, np.float32), "values 2 to 2"),
        (np.full((1, 8, 8, 3), np.nan, np.float32), "values nan"),
    ],
)
def test_other_arrays_than_images_are_refused(exported, images, sentence):
    with pytest.raises(BadInput, match=sentence):
        load(exported[1] / "model.safetensors").predict(images)


def test_equal_nets_give_equal_files(netted):
    from had_core.portable import to_bytes

    state = netted.net.state_dict()
    one, two = (to_bytes(netted.net.config, netted.tasks, state, {"k": 1}) for _ in range(2))
    assert one == two
