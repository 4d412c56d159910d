"""MLflow in memory with the part of its model registry that ``had register`` uses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fake_mlflow import FakeMlflow, refusal


class FakeRegistry(FakeMlflow):
    """``files``: by model id, path -> content; ``versions``: in the order they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, dict[str, bytes]] = {}
        self.versions: list[Any] = []
        self.uploads = 0
        self._names: set[str] = set()

    def get_logged_model(self, model_id: str) -> Any:
        if model_id not in self.models:
            raise refusal(f"no model {model_id}")
        model = self.models[model_id]
        model.artifact_location = f"/models/{model_id}/artifacts"
        return model

    def log_model_artifacts(self, model_id: str, folder: str) -> None:
        self.uploads += 1
        self.files[model_id] = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in Path(folder).rglob("*")
            if path.is_file()
        }

    def set_logged_model_tags(self, model_id: str, tags: dict[str, str]) -> None:
        self.models[model_id].tags.update(tags)

    def create_registered_model(self, name: str) -> None:
        if name in self._names:
            raise refusal("exists", "RESOURCE_ALREADY_EXISTS")
        self._names.add(name)

    def create_model_version(self, name: str, **fields: Any) -> Any:
        assert name in self._names
        number = sum(each.name == name for each in self.versions) + 1
        made = SimpleNamespace(name=name, version=number, **fields)
        self.versions.append(made)
        return made

    def search_model_versions(self, filter_string: str, max_results: int) -> list[Any]:
        name = filter_string.partition("'")[2].rstrip("'")
        return [each for each in self.versions if each.name == name]
