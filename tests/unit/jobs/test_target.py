from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.jobs.local.state import LocalCluster, write_state
from orchestrator.jobs.target import Target, find_target

SECRET = "0123456789abcdef"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def state(tmp_path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def local(state, tmp_path) -> LocalCluster:
    token = tmp_path / "local-token"
    token.write_text("of-the-local-cluster\n")
    cluster = LocalCluster(
        *("id", 1, "http://127.0.0.1:9000", "127.0.0.1:9001", str(token), 3, 1, "/tmp/x")
    )
    write_state(state, cluster)
    return cluster


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("head:8300/", "http://head:8300"),
        ("head", "http://head:8265"),
        ("https://ray.example.org", "https://ray.example.org:443"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("https://gateway/clusters/a/", "https://gateway:443/clusters/a"),
    ],
)
def test_addresses(address, url, state):
    assert find_target(address, environment={}, state=state).url == url


@pytest.mark.parametrize(
    "address",
    [*("ray://head:10001", "http://", "http://head:port", "local://x", "http://head:99999"), " "],
)
def test_what_is_no_dashboard(address, state):
    with pytest.raises(BadInput, match="is not allowed: the address of a cluster's dashboard"):
        find_target(address, environment={}, state=state)


def test_a_password_in_the_address_is_refused_and_not_repeated(state):
    with pytest.raises(BadInput) as told:
        find_target(f"http://ada:{SECRET}@head:8265", environment={}, state=state)
    assert SECRET not in str(told.value)


def test_without_an_address_it_is_the_local_cluster(state, local):
    target = find_target(None, environment={}, state=state)
    assert (target.url, target.token, target.local) == (
        "http://127.0.0.1:9000",
        "of-the-local-cluster",
        local,
    )


def test_without_any_cluster_the_sentence_says_how_to_get_one(state):
    with pytest.raises(BadInput, match=r"no cluster is named: --address .* had cluster up"):
        find_target(None, environment={}, state=state)


def test_the_local_token_is_for_the_local_cluster_only(state, local):
    assert find_target("http://127.0.0.1:9000/", environment={}, state=state).local == local
    other = find_target("http://head:8265", environment={}, state=state)
    assert (other.token, other.local) == (None, None)


def test_where_the_token_comes_from(state, local, home, tmp_path):
    named, in_path = tmp_path / "named", tmp_path / "in-path"
    named.write_text("named")
    in_path.write_text("in-path")
    (home / ".ray" / "auth_token").write_text("home\n")
    environment = {"RAY_AUTH_TOKEN": "text", "RAY_AUTH_TOKEN_PATH": str(in_path)}

    def token(path=None, address=None):
        return find_target(address, path, environment=environment, state=state).token

    assert token(str(named)) == "named"
    assert token() == "text"
    del environment["RAY_AUTH_TOKEN"]
    assert token() == "in-path"
    del environment["RAY_AUTH_TOKEN_PATH"]
    assert token() == "of-the-local-cluster"
    assert token(address="head") == "home"


@pytest.mark.parametrize("content", [b"", b"two words", b"two\nlines", b"\xff\xfe"])
def test_a_file_that_holds_no_token(content, state, tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=f"the token file {path}"):
        find_target("head", str(path), environment={}, state=state)
    with pytest.raises(BadInput, match="missing cannot be read: No such file"):
        find_target("head", str(tmp_path / "missing"), environment={}, state=state)


def test_the_token_is_not_shown():
    assert SECRET not in repr(Target("http://head:8265", SECRET))


def test_a_token_in_the_clear_is_noticed():
    target = Target("http://10.0.0.1:8265", SECRET)
    assert target.in_the_clear
    assert not replace(target, url="http://127.0.0.1:8265").in_the_clear
    assert not replace(target, url="https://10.0.0.1:8265").in_the_clear
    assert not replace(target, token=None).in_the_clear
