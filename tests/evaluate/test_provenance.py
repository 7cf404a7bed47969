from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from result_examples import ListSource

from agentdistill.hashing import neutral
from agentdistill.plugins import PluginRegistry
from agentdistill.provenance import collect


@dataclass
class Model:
    name: str
    fingerprint: str = "f00d"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/home/ada/models/small", "…/small"),
        (Path("/srv/data"), "…/data"),
        ("C:\\Users\\ada\\models\\small", "…/small"),
        ("~/models/small", "…/small"),
        ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-1.7B"),
        ("runs/first", "runs/first"),
        ("/no_think", "/no_think"),
        ("line\n/home/ada/x", "line\n/home/ada/x"),
        ("http://gpu7.lab:8000/v1?key=abc", "http://host/v1"),
        ("https://ada:secret@gpu7.lab/v1", "https://host/v1"),
        ("file:///home/ada/x", "file://…/x"),
        (3, 3),
        (None, None),
        (["/a/b", {"path": ("/a/b/c",)}], ["…/b", {"path": ["…/c"]}]),
    ],
)
def test_what_only_this_machine_knows_is_taken_out(given: object, expected: object) -> None:
    assert neutral(given) == expected


@pytest.mark.parametrize("key", ["api_key", "API-KEY", "apikey", "openai.api_key", "password", "auth_token", "secret"])
def test_secrets_are_hidden(key: str) -> None:
    assert neutral({key: "s3cr3t"}) == {key: "(hidden)"}
    assert neutral({key: None}) == {key: None}


@pytest.mark.parametrize("key", ["token_weight", "max_new_tokens", "tokens", "monkey", "keyword"])
def test_ordinary_keys_are_kept(key: str) -> None:
    assert neutral({key: "value"}) == {key: "value"}


def test_a_collected_provenance_is_neutral_plain_and_repeatable(tmp_path: Path) -> None:
    config = {
        "student": {"model": str(tmp_path / "student")},
        "teacher": {"url": f"http://{socket.gethostname()}:1/v1"},
    }
    registry = PluginRegistry.load(third_party=False)
    models = {"student": Model(str(tmp_path / "student"))}

    def once() -> str:
        found = collect(config, registry=registry, source=ListSource(), models=models, extra={"seeds": {"run": 3}})  # type: ignore[arg-type]
        return json.dumps(found, allow_nan=False)

    text = once()
    assert text == once()
    assert str(tmp_path) not in text and socket.gethostname() not in text
    found = json.loads(text)
    assert found["models"]["student"] == {"name": "…/student", "fingerprint": "f00d"}
    assert found["environment"] == {"engine": "list", "games": 40} and found["seeds"] == {"run": 3}
    assert re.fullmatch(r"3\.\d+\.\d+", found["versions"]["python"])
    assert {"torch", "transformers", "gymnasium"} <= found["versions"]["packages"].keys()
    assert "agentdistill" in found["versions"]["plugins"]


def test_the_config_hash_does_not_depend_on_where_it_ran() -> None:
    one = collect({"student": {"model": "/home/ada/small"}})
    other = collect({"student": {"model": "/srv/bob/small"}})
    assert one["config_hash"] == other["config_hash"] != collect({})["config_hash"]
