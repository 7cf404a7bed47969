"""Records as plain JSON-able dictionaries and back, exactly: every float32 bit, every NaN, every string."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from agentdistill.errors import DataError
from agentdistill.records import (
    Actor,
    EpisodePlan,
    LossRole,
    Panel,
    Recording,
    Relabel,
    Step,
    StopReason,
    Task,
    TeacherScores,
    TokenRow,
    Trajectory,
    TurnControl,
)

FORMAT_VERSION = 1
"""Version of the dictionaries below. A reader refuses versions it does not know."""

_SCALARS = (str, int, bool, type(None))


def encode_value(value: Any) -> Any:
    """Makes strict JSON of a small free-form value (`info`, `meta`, `note`, `provenance`).

    Tuples, non-finite floats and dictionaries with keys that are no plain strings are tagged with a `$` key, so that
    they come back as they were. NumPy scalars become Python numbers.

    Raises:
        DataError: the value holds something that is no plain data.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list):
        return [encode_value(item) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [encode_value(item) for item in value]}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {str(key): encode_value(item) for key, item in value.items()}
        return {"$dict": [[encode_value(key), encode_value(item)] for key, item in value.items()]}
    raise DataError(
        f"A value of type {type(value).__name__} cannot be stored.",
        "Records carry plain data only: text, numbers, booleans, None, lists, tuples and dictionaries of these.",
        "Convert it before putting it into `info` or `meta`.",
    )


def decode_value(value: Any) -> Any:
    """Reverses `encode_value`."""
    if isinstance(value, list):
        return [decode_value(item) for item in value]
    if isinstance(value, dict):
        if "$float" in value:
            return float(value["$float"])
        if "$tuple" in value:
            return tuple(decode_value(item) for item in value["$tuple"])
        if "$dict" in value:
            return {decode_value(key): decode_value(item) for key, item in value["$dict"]}
        return {key: decode_value(item) for key, item in value.items()}
    return value


def encode_array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Packs an array: little-endian bytes (booleans as bits), zlib, base64."""
    flat = np.ascontiguousarray(array)
    if flat.dtype == np.bool_:
        kind, data = "bool", np.packbits(flat.reshape(-1)).tobytes()
    else:
        flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
        kind, data = flat.dtype.name, flat.tobytes()
    return {"dtype": kind, "shape": list(array.shape), "data": base64.b64encode(zlib.compress(data, 6)).decode()}


def decode_array(packed: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Reverses `encode_array`, bit for bit; the result is writable and in native byte order.

    Raises:
        DataError: the bytes do not fill the shape.
    """
    shape = tuple(packed["shape"])
    data = zlib.decompress(base64.b64decode(packed["data"], validate=True))
    count = math.prod(shape)
    if packed["dtype"] == "bool":
        bits = np.frombuffer(data, dtype=np.uint8)
        if len(bits) != (count + 7) // 8:
            raise DataError(f"A packed array of shape {shape} has {len(bits)} bytes.", "It is damaged.")
        return np.unpackbits(bits, count=count).astype(np.bool_).reshape(shape)
    dtype = np.dtype(packed["dtype"])
    if len(data) != count * dtype.itemsize:
        raise DataError(f"A packed {dtype} array of shape {shape} has {len(data)} bytes.", "It is damaged.")
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def task_to_dict(task: Task) -> dict[str, Any]:
    """A task as a dictionary."""
    return {"env": task.env, "split": task.split, "key": task.key, "type": task.type, "seed": task.seed}


def task_from_dict(data: Mapping[str, Any]) -> Task:
    """Reverses `task_to_dict`."""
    return Task(env=data["env"], split=data["split"], key=data["key"], type=data["type"], seed=data["seed"])


def panel_to_dict(panel: Panel) -> dict[str, Any]:
    """A panel as a dictionary, its hash beside its tasks."""
    return {
        "version": FORMAT_VERSION,
        "name": panel.name,
        "hash": panel.hash,
        "provenance": encode_value(panel.provenance),
        "tasks": [task_to_dict(task) for task in panel.tasks],
    }


def panel_from_dict(data: Mapping[str, Any]) -> Panel:
    """Reverses `panel_to_dict`.

    Raises:
        DataError: the tasks do not have the hash that stands beside them.
    """
    _check_version(data, "panel")
    tasks = tuple(task_from_dict(task) for task in data["tasks"])
    panel = Panel(name=data["name"], tasks=tasks, provenance=decode_value(data["provenance"]))
    if panel.hash != data["hash"]:
        raise DataError(
            f"The panel `{panel.name}` does not match its own hash.",
            f"It says {data['hash']}, its tasks give {panel.hash}: the list was edited.",
            "Take the file as it was saved, or save the edited list as a panel of another name.",
        )
    return panel


def plan_to_dict(plan: EpisodePlan) -> dict[str, Any]:
    """A plan as a dictionary. What only some curricula use is left out where it is not used."""
    rare: dict[str, Any] = {}
    if plan.student_role is not LossRole.DISTILL:
        rare["student_role"] = plan.student_role.value
    if plan.control is not None:
        numbers = encode_value(plan.control.numbers)
        rare["control"] = {"decide": plan.control.decide, "numbers": numbers, "scored": plan.control.scored}
    if plan.relabel is not None:
        rare["relabel"] = {"actor": plan.relabel.actor.value, "temperature": plan.relabel.temperature}
    if plan.recording is not None:
        rare["recording"] = _recording_to_dict(plan.recording)
    if plan.offline:
        rare["offline"] = True
    return {
        "prefix": list(plan.prefix),
        "prefix_actor": plan.prefix_actor.value,
        "horizon": plan.horizon,
        "guide": plan.guide,
        "guide_actor": plan.guide_actor.value,
        "guide_role": plan.guide_role.value,
        "note": encode_value(plan.note),
        **rare,
    }


def plan_from_dict(data: Mapping[str, Any]) -> EpisodePlan:
    """Reverses `plan_to_dict`."""
    control, relabel, recording = data.get("control"), data.get("relabel"), data.get("recording")
    return EpisodePlan(
        prefix=tuple(data["prefix"]),
        prefix_actor=Actor(data["prefix_actor"]),
        horizon=data["horizon"],
        guide=data.get("guide", 0.0),
        guide_actor=Actor(data.get("guide_actor", Actor.TEACHER)),
        guide_role=LossRole(data.get("guide_role", LossRole.NONE)),
        student_role=LossRole(data.get("student_role", LossRole.DISTILL)),
        control=control and TurnControl(control["decide"], decode_value(control["numbers"]), control["scored"]),
        relabel=relabel and Relabel(Actor(relabel["actor"]), relabel["temperature"]),
        recording=recording and _recording_from_dict(recording),
        offline=data.get("offline", False),
        note=decode_value(data["note"]),
    )


def _recording_to_dict(recording: Recording) -> dict[str, Any]:
    return {
        "goal": recording.goal,
        "actions": list(recording.actions),
        "observations": list(recording.observations),
        "responses": list(recording.responses),
        "admissible": [list(actions) for actions in recording.admissible],
        "expert": recording.expert,
    }


def _recording_from_dict(data: Mapping[str, Any]) -> Recording:
    return Recording(
        goal=data["goal"],
        actions=tuple(data["actions"]),
        observations=tuple(data["observations"]),
        responses=tuple(data["responses"]),
        admissible=tuple(tuple(actions) for actions in data["admissible"]),
        expert=data["expert"],
    )


def step_to_dict(step: Step) -> dict[str, Any]:
    """A step as a dictionary."""
    return {
        "index": step.index,
        "observation": step.observation,
        "response": step.response,
        "action": step.action,
        "valid": bool(step.valid),
        "reward": encode_value(float(step.reward)),
        "actor": step.actor.value,
        "loss_role": step.loss_role.value,
        "row": step.row,
        "start": step.start,
        "end": step.end,
        "info": encode_value(step.info),
    }


def step_from_dict(data: Mapping[str, Any]) -> Step:
    """Reverses `step_to_dict`."""
    return Step(
        index=data["index"],
        observation=data["observation"],
        response=data["response"],
        action=data["action"],
        valid=data["valid"],
        reward=decode_value(data["reward"]),
        actor=Actor(data["actor"]),
        loss_role=LossRole(data["loss_role"]),
        row=data["row"],
        start=data["start"],
        end=data["end"],
        info=decode_value(data["info"]),
    )


_ROW_EXTRAS = ("old_entropy", "old_top_ids")


def row_to_dict(row: TokenRow) -> dict[str, Any]:
    """A token row as a dictionary of packed arrays."""
    extras = {name: getattr(row, name) for name in _ROW_EXTRAS}
    return {
        "token_ids": encode_array(row.token_ids),
        "step_of_token": encode_array(row.step_of_token),
        "mask": encode_array(row.mask),
        "old_logprob": encode_array(row.old_logprob),
        **{name: encode_array(array) for name, array in extras.items() if array is not None},
    }


def row_from_dict(data: Mapping[str, Any]) -> TokenRow:
    """Reverses `row_to_dict`."""
    return TokenRow(
        token_ids=decode_array(data["token_ids"]),
        step_of_token=decode_array(data["step_of_token"]),
        mask=decode_array(data["mask"]),
        old_logprob=decode_array(data["old_logprob"]),
        **{name: decode_array(data[name]) for name in _ROW_EXTRAS if name in data},
    )


def trajectory_to_dict(trajectory: Trajectory) -> dict[str, Any]:
    """A whole episode as a dictionary that `json.dumps` takes under `allow_nan=False`."""
    return {
        "version": FORMAT_VERSION,
        "task": task_to_dict(trajectory.task),
        "plan": plan_to_dict(trajectory.plan),
        "steps": [step_to_dict(step) for step in trajectory.steps],
        "rows": [row_to_dict(row) for row in trajectory.rows],
        "stop": trajectory.stop.value,
        "score": encode_value(float(trajectory.score)),
        "success": bool(trajectory.success),
        "sample": trajectory.sample,
        "seed": trajectory.seed,
        "policy_version": trajectory.policy_version,
        "meta": encode_value(trajectory.meta),
    }


def trajectory_from_dict(data: Mapping[str, Any]) -> Trajectory:
    """Reverses `trajectory_to_dict`.

    Raises:
        DataError: it was written by an unknown version.
    """
    _check_version(data, "trajectory")
    return Trajectory(
        task=task_from_dict(data["task"]),
        plan=plan_from_dict(data["plan"]),
        steps=[step_from_dict(step) for step in data["steps"]],
        rows=[row_from_dict(row) for row in data["rows"]],
        stop=StopReason(data["stop"]),
        score=decode_value(data["score"]),
        success=data["success"],
        sample=data["sample"],
        seed=data["seed"],
        policy_version=data["policy_version"],
        meta=decode_value(data["meta"]),
    )


_SCORE_ARRAYS = (
    "sampled_logprob",
    "valid",
    "topk_ids",
    "topk_logprobs",
    "entropy",
    "confidence",
    "source",
    "span",
    "rest",
)


def scores_to_dict(scores: TeacherScores) -> dict[str, Any]:
    """Teacher scores as a dictionary of packed arrays.

    Raises:
        DataError: they carry hidden states, which belong to the process that computed them.
    """
    if scores.hidden is not None:
        raise DataError(
            "Teacher scores with hidden states cannot be stored.",
            "They are as large as the model's activations and mean nothing without its output matrix.",
            "Ask for sampled or top-k scores where scores leave the process.",
        )
    arrays = {name: getattr(scores, name) for name in _SCORE_ARRAYS}
    packed = {name: None if array is None else encode_array(array) for name, array in arrays.items()}
    return {"version": FORMAT_VERSION, **packed}


def scores_from_dict(data: Mapping[str, Any]) -> TeacherScores:
    """Reverses `scores_to_dict`."""
    _check_version(data, "score")
    arrays: dict[str, Any] = {
        name: None if data.get(name) is None else decode_array(data[name]) for name in _SCORE_ARRAYS
    }
    return TeacherScores(**arrays)


def _check_version(data: Mapping[str, Any], what: str) -> None:
    version = data.get("version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"A stored {what} has the format version {version!r}.",
            f"This package reads version {FORMAT_VERSION}.",
            "Read it with the version of agentdistill that wrote it.",
        )
