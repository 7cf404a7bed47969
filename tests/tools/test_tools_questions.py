"""Where questions come from, and who says that an answer is right."""

from __future__ import annotations

import ast
import decimal
import inspect
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasoning_gym.factory import DATASETS

from agentdistill.errors import ConfigError, DataError
from agentdistill.plugins import PluginConfig
from agentdistill.records import Task
from agentdistill_tools import expert, gym
from agentdistill_tools.calculator import calculator
from agentdistill_tools.config import ARITHMETIC, SizesConfig, ToolsConfig
from agentdistill_tools.panels import eval_panel, test_panel
from agentdistill_tools.questions import grade, read_questions
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.sandbox.probe import find_jail
from agentdistill_tools.sandbox.run import run_python
from agentdistill_tools.source import Generated, ToolsSource

test_panel.__test__ = False  # type: ignore[attr-defined]


def _texts(source: ToolsSource, split: str) -> list[str]:
    questions = map(source.question, source.tasks(split))
    return [
        gym.item(q.family, q.options, q.first_seed, q.index)["question"] for q in questions if isinstance(q, Generated)
    ]


def test_splits_draw_from_seeds_of_their_own() -> None:
    blocks = [gym.split_seed(seed, split) for seed in (0, 1, 7) for split in ("train", "eval", "test")]
    assert (
        len(set(blocks)) == 9 and min(b - a for a, b in zip(sorted(blocks), sorted(blocks)[1:], strict=False)) >= 10**7
    )
    source = ToolsSource(ToolsConfig(sizes=SizesConfig(train=320, eval=160, test=160)))
    trained, tested = (set(_texts(source, split)) for split in ("train", "test"))
    assert len(trained & tested) <= 3  # small sums can be drawn twice


def test_the_same_seed_asks_the_same_and_another_asks_something_else() -> None:
    def asked(seed: int) -> list[str]:
        return _texts(ToolsSource(ToolsConfig(seed=seed, sizes=SizesConfig(test=32))), "test")

    one = asked(1)
    gym.item.cache_clear()
    assert asked(1) == one
    assert sum(a == b for a, b in zip(one, asked(2), strict=True)) <= 2


def test_difficulty_knobs_reach_the_generator() -> None:
    options = {"chain_sum": {"min_terms": 9, "max_terms": 9}}
    sizes = SizesConfig(train=1)
    source = ToolsSource(ToolsConfig(families=("chain_sum",), family_options=options, sizes=sizes))
    text = _texts(source, "train")[0]
    assert sum(text.count(sign) for sign in (" + ", " - ")) == 8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"families": ("chain_sun",)}, "chain_sum"),
        ({"families": ("chain_sum",), "family_options": {"chain_sum": {"terms": 1}}}, "family_options.chain_sum"),
        ({"families": ("chain_sum",), "family_options": {"chain_sum": {"min_terms": -1}}}, "rejects"),
    ],
)
def test_a_wrong_family_or_knob_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ToolsSource(ToolsConfig.model_validate(config)).tasks("train")


def test_one_family_does_not_change_the_numbers_of_another() -> None:
    """Making a decimal_arithmetic question sets the precision of all decimals of the process to 12."""
    before = decimal.getcontext().prec
    gym.item.cache_clear()
    gym.item("decimal_arithmetic", "{}", 5, 0)
    assert decimal.getcontext().prec == before


def _plan_output(plan: expert.Plan) -> str:
    if plan.tool == "calculator":
        return calculator(**plan.arguments)
    limits = PythonConfig(seconds=60.0, cpu_seconds=30)
    return run_python(plan.arguments["code"], limits, find_jail()).output.strip()


@pytest.mark.parametrize("family", ARITHMETIC)
def test_the_expert_is_right(family: str) -> None:
    for index in range(4):
        item = gym.item(family, "{}", 77, index)
        plan = expert.plan(family, item["question"].strip(), ("python", "calculator"))
        assert plan is not None
        assert gym.score(family, "{}", 77, index, _plan_output(plan)) == 1.0, (item, plan)
        alone = expert.plan(family, item["question"].strip(), ("python",))
        assert alone is not None and alone.tool == "python"


def test_the_expert_is_right_without_a_calculator() -> None:
    for family in ("basic_arithmetic", "chain_sum", "decimal_chain_sum", "products"):
        item = gym.item(family, "{}", 78, 3)
        plan = expert.plan(family, item["question"].strip(), ("python",))
        assert plan is not None and gym.score(family, "{}", 78, 3, _plan_output(plan)) == 1.0, (item, plan)


def test_the_expert_knows_what_it_does_not_know() -> None:
    assert expert.plan("rubiks_cube", "?", ("python",)) is None
    assert expert.plan("gcd", "GCD of 4, 6", ("calculator",)) is None


def test_every_scorer_that_evaluates_answers_is_known() -> None:
    """A scorer that calls `eval` on what a model wrote would run it outside the sandbox."""
    evaluating = set()
    for name, (kind, _) in DATASETS.items():
        scorers = [function for key, function in vars(kind).items() if "score" in key and inspect.isfunction(function)]
        for function in scorers:
            tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
            for node in ast.walk(tree):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if called.rpartition(".")[2] in {"eval", "exec", "parse_expr", "sympify", "S"} and "ast." not in called:
                    evaluating.add(name)
    evaluating -= {"number_sorting"}  # evaluates its own answer, not the agent's
    assert evaluating <= gym.LITERALS | gym.FORMULAS
    assert evaluating, "the check finds nothing any more"


EVIL = "__import__('pathlib').Path('{path}').write_text('x')"


@pytest.mark.parametrize("family", sorted(gym.LITERALS | gym.FORMULAS))
def test_an_answer_that_is_a_program_is_not_run(family: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = EVIL.format(path=target)
    scorer = gym.Scorer()
    try:
        for answer in (code, f"[{code}]", f"[[{code}]]", f"{code}\n", f"({code})", f"1 if {code} else 2"):
            assert scorer(family, "{}", 3, 0, answer) == 0.0
    finally:
        scorer.close()
    assert not target.exists()


def test_right_answers_pass_the_guard() -> None:
    scorer = gym.Scorer()
    try:
        for family in sorted(gym.LITERALS | gym.FORMULAS):
            for index in range(3):
                answer = gym.item(family, "{}", 3, index)["answer"]
                assert gym.harmless(family, answer), (family, answer)
                assert scorer(family, "{}", 3, index, answer) == 1.0, (family, answer)
        assert scorer("string_insertion", "{}", 3, 0, str(list(gym.item("string_insertion", "{}", 3, 0)["answer"]))) > 0
    finally:
        scorer.close()


def test_an_answer_that_takes_for_ever_is_wrong_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "_SCORING_SECONDS", 2.0)
    scorer = gym.Scorer()
    try:
        before = time.monotonic()
        assert scorer("puzzle24", "{}", 3, 0, "9**9**9**9") == 0.0
        assert time.monotonic() - before < 60
        assert scorer("gcd", "{}", 3, 0, gym.item("gcd", "{}", 3, 0)["answer"] + " ") >= 0.0
    finally:
        scorer.close()


def _write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_of_questions(tmp_path: Path) -> None:
    rows = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(200)]
    path = _write(
        tmp_path / "q.jsonl", *rows, "", {"question": "¿Qué?", "answer": ["sí", "si"], "split": "test", "id": 7}
    )
    source = ToolsSource(ToolsConfig(questions=str(path)))
    counts = {split: len(source.tasks(split)) for split in ("train", "eval", "test")}
    assert sum(counts.values()) == 201 and counts["train"] > 120 and min(counts.values()) > 5
    task = source.tasks("test")[-1]
    assert task.key == "7" and source.question(task).question == "¿Qué?"  # type: ignore[union-attr]
    assert source.provenance()["questions"]["questions"] == 201
    assert str(tmp_path) not in json.dumps(source.provenance())


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "[]",
        "nonsense",
        '{"question": 1, "answer": "x"}',
        '{"question": "x"}',
        '{"question": " ", "answer": "x"}',
        '{"question": "x", "answer": null}',
        '{"question": "x", "answer": []}',
        '{"question": "x", "answer": {"a": 1}}',
        '{"question": "x", "answer": true}',
        '{"question": "x", "answer": 1, "split": "dev"}',
        '{"question": "\\ud800", "answer": 1}',
        '{"question": "twice", "answer": 1}',
        "[" * 100_000,
    ],
)
def test_a_bad_row_is_named_or_counted(row: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "q.jsonl", {"question": "twice", "answer": 1}, row)
    with pytest.raises(DataError, match=r"Line 2 of q\.jsonl"):
        read_questions(path, skip_bad=False)
    file = read_questions(path, skip_bad=True)
    assert (len(file.rows), file.bad) == (1, 1)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"q\.jsonl"):
        read_questions(tmp_path / "q.jsonl", skip_bad=False)
    with pytest.raises(DataError, match="no questions"):
        read_questions(_write(tmp_path / "q.jsonl", "x"), skip_bad=True)
    with pytest.raises(DataError):
        read_questions(tmp_path, skip_bad=True)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("42", "42", True),
        ("42.0", "42", True),
        ("4.2e1", "42", True),
        ("1,234", "1234", True),
        ("84/2", "42", True),
        ("$\\boxed{42}$", "42", True),
        ("-42", "42", False),
        ("  Paris. ", "paris", True),
        ("ﬁne", "FINE", True),
        ("0.1", "1/10", True),
        ("1e99", "1" + "0" * 60, False),
        ("1/0", "1/0", True),
        ("", "42", False),
        ("4 2", "42", False),
        ("9" * 100, "9" * 100, True),
        ("1e999999999", "1", False),
        ("½", "1/2", False),
    ],
)
def test_answers_are_compared_as_numbers_or_as_text(answer: str, expected: str, right: bool) -> None:
    assert grade(answer, [expected]) == float(right)


@given(st.text(max_size=200))
def test_any_text_can_be_graded(text: str) -> None:
    assert grade(text, [text]) == 1.0
    assert grade(text, ["an answer nobody gives"]) == 0.0


def test_panels() -> None:
    source = ToolsSource(ToolsConfig(sizes=SizesConfig(test=48)))
    panel = test_panel(source, PluginConfig())
    assert len(panel.tasks) == 48 and panel.name == "tools/test"
    assert {task.type for task in panel.tasks[:16]} == set(ARITHMETIC)
    assert eval_panel(source, PluginConfig()).hash != panel.hash


def test_tasks_that_do_not_exist() -> None:
    source = ToolsSource()
    for key in ("gcd/x", "gcd/-1", "gdc/1", "gcd", "gcd/1/2", "gcd/²"):
        with pytest.raises(DataError, match="no question"):
            source.question(Task("tools", "test", key))
    with pytest.raises(DataError, match="no split"):
        source.tasks("tests")
