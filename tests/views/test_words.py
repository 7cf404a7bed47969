"""What each view shows, of episodes that were played."""

from __future__ import annotations

import dataclasses

import pytest
from played_corridors import APPEND, RENDERER, corridors, text
from rollout.toy_world import lost, right

from agentdistill.errors import ConfigError, DataError
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.check import check_plugins
from agentdistill.records import StopReason
from agentdistill.store import TrajectoryStore
from agentdistill.teachers.rerender import rerender
from agentdistill_views.hindsight import LOST, WON, Hindsight, HindsightConfig
from agentdistill_views.opsd import Opsd, OpsdConfig
from agentdistill_views.sd_zero import REPEAT, REVISE, SdZero, SdZeroConfig
from agentdistill_views.sdpo import Sdpo, SdpoConfig, complaints
from agentdistill_views.skills import Skills, SkillsConfig
from agentdistill_views.words import numbered, said, without_thoughts


def clumsy_then_right(session: str, turn: int, prompt: str) -> str:
    """The first episode and the fourth dance to the end, others win, each after another number of dances."""
    number = int(session.partition("-")[2])
    return "dance" if number in (0, 3) or turn < number - 1 else right(session, turn, prompt)


def rows_of(trajectory, privileged) -> str:
    shown = rerender(trajectory, privileged, renderer=RENDERER, context=APPEND)
    return "\n---\n".join(text(row.token_ids) for row in shown.trajectory.rows)


def test_thoughts_are_taken_out():
    assert without_thoughts("<think>\nThe desk.\n</think>\n<action>go</action>") == "<action>go</action>"
    assert without_thoughts("go <think>never closed") == "go"
    assert without_thoughts("begun in the prompt</think>go") == "go"
    assert without_thoughts("<think>a</think>x<think>b</think>y") == "xy"
    assert without_thoughts("go") == "go"


def test_turns_are_numbered_by_their_commands():
    (trajectory,) = corridors(keys=("0",))
    assert numbered(trajectory.steps) == "1. dance\n2. ahead\n3. ahead\n4. open"
    seen = numbered(trajectory.steps, observations=True).splitlines()
    assert seen[:3] == ["[1] saw: A corridor of 2 steps.", "[1] did: dance", "[2] saw: Nothing happens."]
    thought = dataclasses.replace(trajectory.steps[0], response="<think>hm</think>go", action="go")
    assert (said(thought), said(thought, thoughts=True)) == ("go", "<think>hm</think>go")
    assert said(dataclasses.replace(thought, action="")) == "go"
    assert said(dataclasses.replace(thought, action="", response="<think>hm")) == "(nothing)"


class TestSdpo:
    def test_a_sibling_that_won_is_shown_and_never_the_episode_itself(self):
        played = corridors(clumsy_then_right, keys=("0", "0", "0", "1"))
        assert [t.success for t in played] == [False, True, True, False]
        view = Sdpo(SdpoConfig(feedback="never"))
        shown = view.show(played)
        first, second = numbered(played[1].steps), numbered(played[2].steps)
        assert first != second
        assert first in shown[0].opening and second in shown[1].opening and first in shown[2].opening
        assert first not in shown[1].opening
        assert shown[3] is None, "another task's success is no demonstration"

    def test_an_episode_that_won_alone_is_not_its_own_demonstration(self):
        played = corridors(clumsy_then_right, keys=("0", "0"))
        assert [t.success for t in played] == [False, True]
        shown = Sdpo(SdpoConfig(feedback="never")).show(played)
        assert shown[0] is not None and shown[1] is None
        assert Sdpo(SdpoConfig()).show(played[1:]) == [None]

    def test_a_group_that_failed_in_silence_has_nothing_to_say(self):
        played = corridors(lambda *_: "jump", keys=("0", "0"))
        assert not any(t.success for t in played) and all(s.valid for t in played for s in t.steps)
        assert Sdpo(SdpoConfig(feedback="always")).show(played) == [None, None]

    def test_feedback_is_what_was_seen_after_actions_that_failed(self):
        played = corridors(lost, keys=("0", "0"), horizon=3)
        assert complaints(played[0]) == ["- dance -> Nothing happens."]
        assert Sdpo(SdpoConfig(feedback="never")).show(played) == [None, None]
        for one in Sdpo(SdpoConfig()).show(played):
            assert one.opening.endswith("\n- dance -> Nothing happens.")

    def test_feedback_stands_back_for_a_demonstration_unless_both_are_wanted(self):
        played = corridors(clumsy_then_right, keys=("0", "0"))
        assert "Nothing happens" not in Sdpo(SdpoConfig()).show(played)[0].opening
        both = Sdpo(SdpoConfig(feedback="always")).show(played)[0].opening
        assert both.index("ahead") < both.index("Nothing happens")

    def test_demonstrations_show_no_thoughts_unless_they_shall(self):
        played = corridors(clumsy_then_right, keys=("0", "0"))
        for step in played[1].steps:
            step.response = f"<think>secret</think>{step.response}"
        assert "secret" not in Sdpo(SdpoConfig()).show(played)[0].opening
        assert "secret" in Sdpo(SdpoConfig(thoughts=True)).show(played)[0].opening
        assert "saw: " in Sdpo(SdpoConfig(observations=True)).show(played)[0].opening

    def test_a_score_may_decide_and_aborted_episodes_show_nothing(self):
        played = corridors(lost, keys=("0", "0"), horizon=2)
        assert Sdpo(SdpoConfig(threshold=0.0, feedback="never")).show(played)[0] is not None
        played[1].stop = StopReason.ABORTED
        assert Sdpo(SdpoConfig(threshold=0.0, feedback="never")).show(played)[0] is None

    def test_only_the_latest_answers_are_shown(self):
        (one,) = corridors(lambda s, turn, p: f"dance {turn}", keys=("0",), horizon=6)
        shown = Sdpo(SdpoConfig(most=2)).show([one])[0].opening
        assert shown.count("->") == 2 and "dance 4" in shown and "dance 2" not in shown


class TestOpsd:
    def test_the_experts_next_action_stands_before_each_turn(self):
        (trajectory,) = corridors(keys=("0",), expert=True)
        view = Opsd(OpsdConfig(advice="Do: {action}"))
        assert view.needs == {"expert_action"} and view.scope == "instance" and not view.siblings
        (shown,) = view.show([trajectory])
        assert dict(shown.turns) == {0: "Do: ahead", 1: "Do: ahead", 2: "Do: ahead", 3: "Do: open"}
        assert shown.scored == {0, 1, 2, 3} and shown.opening == ""

    def test_turns_the_expert_is_silent_on_have_no_scores(self):
        (trajectory,) = corridors(keys=("0",), expert=True)
        trajectory.steps[1].info["expert_action"] = None
        assert Opsd(OpsdConfig()).show([trajectory])[0].scored == {0, 2, 3}
        for step in trajectory.steps:
            step.info.pop("expert_action")
        assert Opsd(OpsdConfig()).show([trajectory]) == [None]

    def test_replayed_turns_are_told_nothing(self):
        (trajectory,) = corridors(keys=("0",), expert=True, prefix=("ahead",))
        assert set(Opsd(OpsdConfig()).show([trajectory])[0].turns) == {1, 2, 3}

    def test_a_store_has_the_shortest_solution_of_each_task(self, tmp_path):
        kept = corridors(clumsy_then_right, keys=("0", "0", "0", "1"))
        with TrajectoryStore(tmp_path / "store") as store:
            for trajectory in reversed(kept):
                store.append(trajectory)
        view = Opsd(OpsdConfig(source=str(tmp_path / "store")))
        assert view.needs == frozenset()
        played = corridors(lost, keys=("0", "1"), horizon=1)
        shown = view.show(played)
        assert shown[0].opening.endswith("1. ahead\n2. ahead\n3. open") and shown[1] is None
        assert shown[0].turns == {} and shown[0].scored is None

    def test_a_store_without_a_success_is_refused(self, tmp_path):
        with TrajectoryStore(tmp_path / "store") as store:
            store.append(corridors(lost, keys=("0",), horizon=1)[0])
        with pytest.raises(DataError, match="no reference solution"):
            Opsd(OpsdConfig(source=str(tmp_path / "store")))

    def test_its_fingerprint_is_that_of_the_solutions(self, tmp_path):
        prints = set()
        for number, dances in enumerate((1, 2, 2)):
            with TrajectoryStore(tmp_path / str(number)) as store:
                store.append(corridors(clumsy_then_right, keys=("0", "0", "0"))[dances])
            prints.add(Opsd(OpsdConfig(source=str(tmp_path / str(number)))).fingerprint)
        assert len(prints) == 2 and Opsd(OpsdConfig()).fingerprint not in prints


class TestSdZero:
    def test_the_outcome_chooses_what_is_asked(self):
        failed, won = corridors(clumsy_then_right, keys=("0", "0"))
        asked = SdZero(SdZeroConfig()).show([failed, won])
        assert asked[0].opening.endswith(REVISE) and asked[1].opening.endswith(REPEAT)
        assert numbered(failed.steps) in asked[0].opening and numbered(won.steps) in asked[1].opening
        failed.success, won.success = True, False
        swapped = SdZero(SdZeroConfig()).show([failed, won])
        assert swapped[0].opening.endswith(REPEAT) and swapped[1].opening.endswith(REVISE)

    def test_without_attempt_and_control_the_prompts_are_the_students(self):
        played = corridors(clumsy_then_right, keys=("0", "0"))
        nothing = SdZero(SdZeroConfig(attempt="", revise="", repeat="")).show(played)
        for trajectory, shown in zip(played, nothing, strict=True):
            assert rows_of(trajectory, shown) == text(trajectory.rows[0].token_ids)

    def test_successes_may_be_left_alone_and_cut_episodes_ended_neither_way(self):
        failed, won = corridors(clumsy_then_right, keys=("0", "0"))
        only = SdZero(SdZeroConfig(good=False)).show([failed, won])
        assert only[0] is not None and only[1] is None
        (cut,) = corridors(lost, keys=("0",), horizon=2)
        assert SdZero(SdZeroConfig()).show([cut]) == [None]


class TestHindsight:
    def test_each_turn_is_told_its_own_answer(self):
        (trajectory,) = corridors(keys=("0",))
        (shown,) = Hindsight(HindsightConfig(hint="-> {answer}")).show([trajectory])
        assert dict(shown.turns) == {0: "-> Nothing happens.", 1: "-> You are at 1.", 2: "-> You are at 2."}
        assert shown.scored == {0, 1, 2}, "what the last turn led to is not on record"

    def test_only_refusals_when_only_these_are_wanted(self):
        (trajectory,) = corridors(keys=("0",))
        (shown,) = Hindsight(HindsightConfig(only="failures")).show([trajectory])
        assert set(shown.turns) == {0}
        (fine,) = corridors(right, keys=("0",))
        assert Hindsight(HindsightConfig(only="failures")).show([fine]) == [None]

    def test_the_outcome_is_told_where_it_is_known(self):
        failed, won = corridors(clumsy_then_right, keys=("0", "0"))
        (cut,) = corridors(lost, keys=("0",), horizon=2)
        shown = Hindsight(HindsightConfig(outcome=True)).show([failed, won, cut])
        assert [one.opening for one in shown] == [LOST, WON, ""]
        assert shown[1].scored is None and shown[2].scored == {0}

    def test_both_forms_show_the_same_where_only_one_turn_is_told(self):
        (trajectory,) = corridors(keys=("0",))
        both = [Hindsight(HindsightConfig(only="failures", remembered=r)).show([trajectory])[0] for r in (True, False)]
        first, second = (rows_of(trajectory, one) for one in both)
        assert second.removesuffix("<|im_end|>") in first


class TestSkills:
    def test_general_skills_come_first_and_types_add_theirs(self):
        view = Skills(SkillsConfig(general=("Walk.",), types={"long": ("Walk on.",)}, words="Known:\n{skills}"))
        assert view.scope == "shared" and not view.siblings
        short, long = view.show(corridors(lost, keys=("0", "1"), horizon=1))
        assert short.opening == "Known:\n- Walk." and long.opening == "Known:\n- Walk.\n- Walk on."

    def test_a_type_without_skills_has_no_scores_and_no_skills_at_all_show_nothing(self):
        played = corridors(lost, keys=("0", "1"), horizon=1)
        some = Skills(SkillsConfig(types={"long": ("Walk on.",)})).show(played)
        assert some[0] is None and some[1] is not None
        assert all(one.opening == "" for one in Skills(SkillsConfig()).show(played))

    def test_a_file_is_the_same_table(self, tmp_path):
        path = tmp_path / "skills.toml"
        path.write_text('general = ["Walk."]\n[types]\nlong = ["Walk on."]\n')
        inline = Skills(SkillsConfig(general=("Walk.",), types={"long": ("Walk on.",)}))
        read = Skills(SkillsConfig(file=str(path)))
        played = corridors(lost, keys=("0", "1"), horizon=1)
        assert read.show(played) == inline.show(played) and read.fingerprint == inline.fingerprint
        with pytest.raises(ConfigError, match="given twice"):
            Skills(SkillsConfig(file=str(path), general=("Walk.",)))

    @pytest.mark.parametrize("content", ['general = "Walk."', "general = [1]", "general = ["])
    def test_a_file_that_is_no_skills_is_refused(self, tmp_path, content):
        path = tmp_path / "skills.toml"
        path.write_text(content)
        with pytest.raises(DataError, match="cannot be read"):
            Skills(SkillsConfig(file=str(path)))
        with pytest.raises(DataError, match="cannot be read"):
            Skills(SkillsConfig(file=str(tmp_path / "absent.toml")))

    def test_the_key_of_one_task_is_no_type(self):
        with pytest.raises(ConfigError, match="single task '1'"):
            Skills(SkillsConfig(types={"1": ("Open the door at 5.",)})).show(corridors(lost, keys=("1",), horizon=1))


def test_all_but_skills_tell_of_the_very_task():
    views = [Opsd(OpsdConfig()), Sdpo(SdpoConfig()), SdZero(SdZeroConfig()), Hindsight(HindsightConfig())]
    assert {view.scope for view in views} == {"instance"} and [view.siblings for view in views] == [0, 1, 0, 0]
    assert len({view.fingerprint for view in views}) == len(views)
    assert Sdpo(SdpoConfig(most=3)).fingerprint != Sdpo(SdpoConfig()).fingerprint


def test_the_conformance_kit_tries_views():
    findings = check_plugins(PluginRegistry.load(third_party=False), ["agentdistill_views"])
    assert {finding.level for finding in findings} == {"ok"}
    assert any("shared hints for 3 of 3" in finding.message for finding in findings)


def test_words_reach_the_teachers_prompts():
    (trajectory,) = corridors(keys=("0",), expert=True)
    shown = Opsd(OpsdConfig(advice="Do: {action}")).show([trajectory])[0]
    whole = rows_of(trajectory, shown)
    assert whole.count("Do: ahead") == 3 and whole.count("Do: open") == 1
