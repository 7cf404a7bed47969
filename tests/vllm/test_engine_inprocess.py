"""The engine `vllm` inside the interpreter that has vLLM: one process does it all, and the tests look at it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from served import STARTERS, vllm_python

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `inprocess_checks.py` prints about the starter student."""
    own = {
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(ROOT / "envs"), str(ROOT / "tests")]),
    }
    command = [str(vllm_python()), str(Path(__file__).with_name("inprocess_checks.py")), str(STARTERS / "student-35")]
    done = subprocess.run(
        command, env={**os.environ, **own}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=550
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert done.returncode == 0 and lines, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return json.loads(lines[-1].removeprefix("FOUND "))


def test_it_says_what_samples_and_leaves_the_process_as_it_was(found):
    assert found["undisturbed"] and found["read_from_disk"]
    assert "in this process · hands over all weights after each step · probe" in found["line"]


@pytest.mark.oracle
def test_greedy_is_what_the_engine_hf_writes(found):
    sampling = found["sampling"]
    assert sampling["greedy_same"] and sampling["greedy_gap"] < 1e-5 and sampling["top_same"]
    assert sampling["stops"] and all(sampling["stops"])
    assert "length" in sampling["cut"]


@pytest.mark.oracle
def test_log_probabilities_are_the_learners_at_temperature_one(found):
    """Sampled at temperature 1.3 and top_p 0.95, reported at 1 and 1; restricted, reported unrestricted."""
    assert found["sampling"]["sampled_learner_gap"] < 1e-5
    assert found["sampling"]["allowed_learner_gap"] < 1e-5


def test_a_seed_belongs_to_its_request_alone(found):
    assert found["sampling"]["sampled_alone_same"] and found["sampling"]["other_seed_differs"]


def test_restricted_responses_are_those_of_the_engine_hf(found):
    sampling = found["sampling"]
    assert sampling["allowed_greedy_same"] and sampling["allowed_gap"] < 1e-5
    assert sampling["allowed_only"] and sampling["allowed_varied"] > 1


def test_nothing_is_truncated_at_the_context_limit(found):
    assert found["sampling"]["tight"] == [3, "length"] and found["sampling"]["context"] == [[], "context"]


@pytest.mark.parametrize("kind", ["sync skipped", "prefix cache kept", "output layer left out"])
@pytest.mark.parametrize("by", ["0.01", "0.0001", "1e-05"])
def test_the_probe_catches_old_weights(found, kind, by):
    """Down to steps of 1e-5 in every weight: what is left over of the old weights is 3e-4 nats then."""
    assert "vLLM serves other weights than the learner has" in found["sync"]["caught"][f"{kind} {by}"]


def test_a_right_sync_passes_and_takes_less_than_a_fifth_of_a_second(found):
    assert max(found["sync"]["gaps"]) < 1e-5 and found["sync"]["after_same"]
    assert min(found["sync"]["cpu"]) < 0.2  # seconds of this process, probe included: others may use the machine


@pytest.mark.parametrize("way", ["weights", "adapter"])
def test_an_adapter_is_merged_or_served(found, way):
    one = found["adapter"][way]
    assert max(one["gaps"]) < 1e-5 and one["same"]
