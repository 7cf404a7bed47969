"""Random records for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agentdistill.records import (
    CONTEXT,
    Actor,
    EpisodePlan,
    LossRole,
    Panel,
    Step,
    StopReason,
    Task,
    TeacherScores,
    TokenRow,
    Trajectory,
)

texts = st.text(max_size=12)
floats = st.floats(allow_nan=True, allow_infinity=True)
small_ints = st.integers(min_value=-(2**40), max_value=2**40)
plain = st.recursive(
    st.none() | st.booleans() | small_ints | floats | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | small_ints, inner, max_size=3)
    ),
    max_leaves=6,
)
infos = st.dictionaries(texts | st.sampled_from(["$float", "$tuple", "$dict"]), plain, max_size=3)

tasks = st.builds(Task, env=texts, split=texts, key=texts, type=texts, seed=small_ints)
panels = st.builds(Panel, name=texts, tasks=st.lists(tasks, max_size=4).map(tuple), provenance=infos)
plans = st.builds(
    EpisodePlan,
    prefix=st.lists(texts, max_size=3).map(tuple),
    prefix_actor=st.sampled_from(Actor),
    horizon=st.none() | st.integers(0, 99),
    note=st.dictionaries(texts, floats, max_size=2),
)
steps = st.builds(
    Step,
    index=st.integers(0, 99),
    observation=texts,
    response=texts,
    action=texts,
    valid=st.booleans(),
    reward=floats,
    actor=st.sampled_from(Actor),
    loss_role=st.sampled_from(LossRole),
    row=st.integers(-1, 9),
    start=st.integers(0, 999),
    end=st.integers(0, 999),
    info=infos,
)


def float32(length: int) -> st.SearchStrategy[np.ndarray]:
    """Any bit pattern: NaN payloads, infinities, subnormals and negative zero included."""
    return hnp.arrays(np.uint32, length).map(lambda bits: bits.view(np.float32))


@st.composite
def rows(draw: st.DrawFn) -> TokenRow:
    length = draw(st.integers(0, 17))
    return TokenRow(
        token_ids=draw(hnp.arrays(np.int32, length)),
        step_of_token=draw(hnp.arrays(np.int32, length, elements=st.integers(CONTEXT, 50))),
        mask=draw(hnp.arrays(np.bool_, length)),
        old_logprob=draw(float32(length)),
    )


@st.composite
def scores(draw: st.DrawFn) -> TeacherScores:
    length, top = draw(st.integers(0, 9)), draw(st.integers(0, 3))
    return TeacherScores(
        sampled_logprob=draw(float32(length)),
        valid=draw(hnp.arrays(np.bool_, length)),
        topk_ids=draw(hnp.arrays(np.int32, (length, top))) if top else None,
        topk_logprobs=draw(float32(length * top)).reshape(length, top) if top else None,
        entropy=draw(st.none() | float32(length)),
    )


trajectories = st.builds(
    Trajectory,
    task=tasks,
    plan=plans,
    steps=st.lists(steps, max_size=3),
    rows=st.lists(rows(), max_size=2),
    stop=st.sampled_from(StopReason),
    score=floats,
    success=st.booleans(),
    sample=st.integers(0, 9),
    seed=small_ints,
    policy_version=st.integers(0, 9),
    meta=infos,
)


def same(left: object, right: object) -> bool:
    """Equality to the bit and to the type, where NaN equals NaN."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    names = getattr(type(left), "__dataclass_fields__", None)
    if names:
        return all(same(getattr(left, name), getattr(right, name)) for name in names)
    return left == right
