"""``had register``: one version a stage and name, pinned first, and what it refuses."""

from __future__ import annotations

import pytest
from fake_mlflow import refusal
from fake_registry import FakeRegistry
from sealed_net import SealedNet

from had_core.errors import BadInput
from had_core.portable import from_bytes
from orchestrator.app.book.registering import register_stage
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.registry import RegistryTrouble


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return SealedNet(tmp_path_factory.mktemp("netted") / "store")


@pytest.fixture
def netted(template):
    """The store without pins."""
    template.store.fs.delete("registered")
    return template


@pytest.fixture
def mlflow(monkeypatch, netted):
    client = FakeRegistry()
    monkeypatch.setattr(TrackingLocation, "client", lambda self: client)
    # An MLflow in memory is there although its file is not.
    monkeypatch.setattr(TrackingLocation, "file", None)
    return client


@pytest.fixture
def register(netted, mlflow):
    return lambda name="rooms", stage=None, uri=None: register_stage(
        stage or netted.key[:12], name, netted.store.uri, uri
    )


def test_a_stage_becomes_a_version_of_its_logged_model(register, netted, mlflow):
    result = register()
    (version,) = mlflow.versions
    assert (result.name, result.version, result.uri) == ("rooms", "1", "models:/rooms/1")
    assert result.new and result.key == netted.key
    model = mlflow.models[result.model_id]
    assert model.tags["had.stage_key"] == netted.key
    assert (version.model_id, version.source) == (model.model_id, model.artifact_location)
    assert version.run_id == model.source_run_id == result.run_id
    assert version.tags["had.stage_key"] == netted.key
    assert version.tags["had.parent_stage_key"] == netted.stages[-2].key
    assert version.tags["had.tasks"] == "semantic,depth,normal,edge_occlusion"
    assert "| depth | abs_err 45.0" in version.description


def test_its_files_need_nothing_of_the_store(register, netted, mlflow):
    files = mlflow.files[register().model_id]
    net = from_bytes(files["artifacts/model.safetensors"])
    assert net.tasks == tuple(netted.tasks)
    assert b"set_model(StageModel())" in files["registered_model.py"]
    assert "code/had_core/portable.py" in files and "code/had_core/nets/lifelong.py" in files
    assert not [name for name in files if name.endswith((".pkl", ".pyc"))]
    text = files["MLmodel"].decode()
    assert f"model_id: {mlflow.versions[0].model_id}" in text
    assert "shape: [-1, -1, -1, 3]" in text.replace('"', "").replace("\n    ", " ")
    assert "input_example.json" in files
    required = files["requirements.txt"].decode()
    assert "torch==2.13.0\n" in required and "safetensors" in required


def test_twice_is_one_version_and_another_name_copies_nothing(register, mlflow):
    first = register()
    again = register()
    assert (again.version, again.new, again.model_id) == (first.version, False, first.model_id)
    other = register("other")
    assert (other.name, other.version, other.new) == ("other", "1", True)
    assert mlflow.uploads == 1
    assert [each.name for each in mlflow.versions] == ["rooms", "other"]


def test_it_is_pinned_before_mlflow_names_it(register, netted, mlflow, monkeypatch):
    def refuses(*args, **kwargs):
        pins = netted.store.registered.list()
        assert [(pin.name, pin.key) for pin in pins] == [("rooms", netted.key)]
        raise refusal("the database is read-only")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "create_model_version", refuses)
        with pytest.raises(RegistryTrouble, match="as 'rooms': the database is read-only"):
            register()
    assert register().new and mlflow.uploads == 1  # what was uploaded is there


def test_an_interrupted_upload_is_made_again(register, mlflow, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_model_artifacts", interrupted)
        with pytest.raises(KeyboardInterrupt):
            register()
    assert mlflow.versions == []
    assert register().new and mlflow.uploads == 1


def test_mlflow_is_brought_up_to_date_first(register, mlflow):
    """Nothing was synced: the stage's run and model are made from the journal."""
    assert mlflow.runs == {}
    result = register()
    assert mlflow.runs[result.run_id].data.tags["had.run_name"] == "netted"


def test_trouble_is_told_without_secrets(register, mlflow, monkeypatch):
    def away(*args, **kwargs):
        raise OSError("postgresql://ada:secret@db is away")

    monkeypatch.setattr(mlflow, "search_experiments", away)
    with pytest.raises(RegistryTrouble, match="is away") as error:
        register()
    assert "secret" not in str(error.value)


def test_a_stage_that_no_journal_tells_of_is_refused(netted, mlflow, tmp_path):
    made = SealedNet(tmp_path / "store")
    made.store.fs.delete("journal")
    with pytest.raises(BadInput, match=r"is not in MLflow at .* has no journal"):
        register_stage(made.key, "rooms", made.store.uri, None)
    assert made.store.registered.list() == ()


@pytest.mark.parametrize("name", ["a/b", "a:b", "", ".x"])
def test_names_that_no_model_can_have_are_refused(register, netted, name):
    with pytest.raises(BadInput, match="model name"):
        register(name)
    assert netted.store.registered.list() == ()


def test_the_command(netted, mlflow, monkeypatch, had):
    monkeypatch.setenv("HAD_STORE", netted.store.uri)
    done = had("register", netted.key[:10], "rooms")
    assert done.exit_code == 0, done.output
    assert "registered as models:/rooms/1" in done.stdout
    assert 'load_model("models:/rooms/1")' in done.stdout
    assert "was registered before" in had("register", netted.key[:10], "rooms").stdout
    refused = had("register", "0" * 12, "rooms")
    assert refused.exit_code == 2 and "begins no fit" in refused.stderr
