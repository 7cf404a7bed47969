"""What a run adds up that it cost, and what its card says of it."""

from evaluate.result_examples import result

from agentdistill.export.card import _cost, _success, _teacher, _what
from agentdistill.training.loop import Totals

PLAYED = {"rollout/env_steps": 30.0, "rollout/episodes": 2.0, "rollout/tokens": 100.0, "rollout/row_tokens": 900.0}


def test_rows_are_read_by_a_teacher_only_where_one_scored_them():
    totals = Totals()
    totals.add(PLAYED, scored=False)
    assert totals.teacher_tokens == 0 and totals.sampled_tokens == 100
    totals.add(PLAYED | {"teacher/cached_tokens": 200.0}, scored=True)
    assert totals.teacher_tokens == 700 and totals.env_steps == 60


def test_endpoints_of_teachers_and_judges_are_added_up_apart_wherever_they_stand():
    totals = Totals()
    asked = {"tokens_in": 50.0, "tokens_out": 5.0, "cost_usd": 0.25}
    metrics = {f"{where}/{name}": value for where in ("teacher/words", "reward/judge") for name, value in asked.items()}
    totals.add(PLAYED | metrics, scored=False)
    totals.add(PLAYED | {f"teacher/{name}": value for name, value in asked.items()}, scored=False)
    assert (totals.teacher_tokens, totals.teacher_written_tokens, totals.teacher_cost_usd) == (100, 10, 0.5)
    assert (totals.judge_tokens, totals.judge_cost_usd) == (55, 0.25)
    assert Totals(**totals.as_dict()) == totals


def test_the_card_shows_cents_and_leaves_out_what_nobody_did():
    card = _cost({"totals": {"env_steps": 1234.0, "teacher_cost_usd": 0.0125, "judge_tokens": 0.0}})
    assert "| environment steps | 1,234 |" in card and "as the recipe's prices say | 0.0125 |" in card
    assert "judges" not in card


def test_the_card_says_who_taught_inside_other_teachers():
    words = {"type": "chat", "model": "m", "url": "https://somewhere/v1"}
    hinted = {"type": "privileged", "view": {"type": "sdpo"}, "teacher": {"type": "self", "weights": "ema"}}
    assert _teacher({"type": "route", "members": {"a": hinted, "b": words}}) == (
        "`route` of a: `privileged` around `self`, shown `sdpo`, b: `m` (chat)"
    )


def test_the_card_compares_before_and_after_game_by_game():
    told = "\n".join(_success({"before": result("1100").to_dict(), "after": result("1011").to_dict()}))
    assert "After against before, paired: +2 won, 1 lost of 4, difference +25.0" in told
    assert "environment engine" not in told and "engine real, version 1.0" in told


def test_a_teacher_of_whom_only_words_were_taken_is_named():
    config = {"env": {"type": "toy"}, "teacher": {"type": "chat", "model": "m"}}
    assert "from the teacher `m` (chat)" in _what("base", config, {"totals": {"teacher_written_tokens": 5.0}})
    assert "teacher" not in _what("base", config, {"totals": {"teacher_written_tokens": 0.0}})
