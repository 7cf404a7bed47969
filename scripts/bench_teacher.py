"""Measures the teacher `vllm` against a real server: parity, requests and tokens of an episode, cost of the top k.

    python scripts/bench_teacher.py                       # starts a server of the starter teacher and ends it
    python scripts/bench_teacher.py --url http://…/v1     # a server that runs already and serves that model
    python scripts/bench_teacher.py --large               # also a server of a model with 45 million parameters

The server runs in the environment that AGENTDISTILL_VLLM_PYTHON names, else the one that scripts/test makes. Times are
medians of rounds that alternate between what is compared, so that a busy machine slows both, and CPU seconds are those
of this process and of a server that it started (whose worker waits by spinning, for up to a second); what is scored are
the first rows that the starter student plays, up to thirty turns each. Both sides are compared with the same model in
float64, too: what is left is their own rounding.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from agentdistill.config.load import load_config
from agentdistill.models import LoadedModel, load_model
from agentdistill.plugins import PluginRegistry
from agentdistill.records import EpisodePlan, ScoreRequest, TeacherScores, Trajectory
from agentdistill.rollout.play import EpisodeRequest, play
from agentdistill.training.assembly import Parts
from agentdistill_teachers.local import LocalConfig, LocalTeacher
from agentdistill_teachers.vllm import VllmConfig, VllmTeacher

ROOT = Path(__file__).resolve().parent.parent
console = Console(width=120)


def cpu_below(process: int) -> float:
    """CPU seconds so far of everything that a process started and that still runs; the kernel counts hundredths."""
    seconds = 0.0
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            ticks = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
            seconds += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") + cpu_below(child)
    return seconds


def episodes(registry: PluginRegistry, count: int) -> list[Trajectory]:
    """Episodes of the starter student in generated households, up to thirty turns."""
    values = {"env.generated": {"train": 24, "seen": 6, "unseen": 6}}
    parts = Parts(load_config(["tcod-alfworld", "starter"], values, registry=registry), registry)
    asked = [EpisodeRequest(task, EpisodePlan(), 0, number) for number, task in enumerate(parts.tasks[:count])]
    try:
        return play(
            asked,
            source=parts.source,
            engine=parts.engine,
            renderer=parts.renderer,
            context=parts.context,
            settings=parts.settings,
        )
    finally:
        parts.close()


def from_exact(model: LoadedModel, played: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]]) -> str:
    """How far scores are from those of the same model in float64: sampled tokens, and the most likely ones by id."""
    exact = copy.deepcopy(model.model).double()
    sampled = top = 0.0
    for trajectory, opinions in zip(played, scores, strict=True):
        for row, opinion in zip(trajectory.rows, opinions, strict=True):
            at = np.flatnonzero(opinion.valid)
            ids = torch.from_numpy(row.token_ids.astype(np.int64))
            with torch.no_grad():
                truth = exact(input_ids=ids[None]).logits[0].log_softmax(-1).numpy()[at - 1]
            lines = np.arange(len(at))
            sampled = max(sampled, np.abs(opinion.sampled_logprob[at] - truth[lines, ids[at]]).max())
            top = max(top, np.abs(opinion.topk_logprobs[at] - truth[lines[:, None], opinion.topk_ids[at]]).max())
    return f"sampled {sampled:.1e}, top 64 {top:.1e}"


def parity(served: VllmTeacher, local: LocalTeacher, model: LoadedModel, played: Sequence[Trajectory]) -> None:
    """Prints the largest differences between served and local scores."""
    request = ScoreRequest(top_k=64, entropy=True, confidence=True)
    theirs, mine = served.score(played, request), local.score(played, request)
    pairs = [(a, b) for one, other in zip(theirs, mine, strict=True) for a, b in zip(one, other, strict=True)]
    table = Table(title="served against local, float32", show_edge=False)
    for heading in ("scores", "positions", "largest |difference|, nats"):
        table.add_column(heading, justify="right")
    tokens = sum(int(b.valid.sum()) for _, b in pairs)
    for name in ("sampled_logprob", "topk_logprobs", "confidence"):
        gap = max(float(np.nanmax(np.abs(getattr(a, name) - getattr(b, name)))) for a, b in pairs)
        table.add_row(name, f"{tokens:,}", f"{gap:.1e}")
    bound = max(float(np.nanmax(b.entropy - a.entropy)) for a, b in pairs)
    table.add_row("entropy: exact - lower bound", f"{tokens:,}", f"{bound:.1e}")
    console.print(table)
    for who, scores in (("served", theirs), ("local", mine)):
        console.print(f"{who} from the same model in float64, nats: {from_exact(model, played, scores)}")


def requests(served: VllmTeacher, played: Sequence[Trajectory]) -> None:
    """Prints what the longest episode costs, whole and turn by turn."""
    longest = max(played, key=lambda trajectory: len(trajectory.steps))
    served.metrics()
    served.score([longest], ScoreRequest())
    numbers = served.metrics()
    by_turn = sum(step.end for step in longest.steps)
    whole = int(numbers["prompt_tokens"])
    console.print(
        f"an episode of {len(longest.steps)} turns: {int(numbers['requests'])} request of {whole:,} tokens; turn by "
        f"turn {len(longest.steps)} requests of {by_turn:,}, {by_turn / whole:.1f} times as many"
    )


def costs(teacher: VllmTeacher, played: Sequence[Trajectory], rounds: int, title: str) -> None:
    """Prints the time of the same rows with more and more of the most likely tokens."""
    wanted = (0, 1, 20, 64)
    seconds: dict[int, list[float]] = {k: [] for k in wanted}
    work: dict[int, list[float]] = {k: [] for k in wanted}
    for turn in range(rounds + 1):
        for k in wanted:
            began, worked = time.perf_counter(), time.process_time() + cpu_below(os.getpid())
            teacher.score(played, ScoreRequest(top_k=k))
            if turn:  # the first round warms up
                seconds[k].append(time.perf_counter() - began)
                work[k].append(time.process_time() + cpu_below(os.getpid()) - worked)
    tokens = sum(len(row) for trajectory in played for row in trajectory.rows)
    base, least = statistics.median(seconds[0]), statistics.median(work[0])
    table = Table(title=f"{title}: {len(played)} rows, {tokens:,} tokens, median of {rounds}", show_edge=False)
    for heading in ("top k", "seconds", "ms a token", "of sampled only", "CPU, ms a token", "of sampled only"):
        table.add_column(heading, justify="right")
    for k in wanted:
        median = statistics.median(seconds[k])
        ratios = sorted(one / other for one, other in zip(seconds[k], seconds[0], strict=True))
        ratio = statistics.median(ratios)
        cpu = statistics.median(work[k])
        table.add_row(
            str(k) if k else "sampled only",
            f"{median:.3f}", f"{1e3 * median / tokens:.3f}", f"{ratio:.1f}x",
            f"{1e3 * cpu / tokens:.3f}", f"{cpu / least:.1f}x",
        )  # fmt: skip
    console.print(table)
    console.print(f"  sampled only: {tokens / base:,.0f} tokens a second")


def running(model: Path, log: Path, *flags: str) -> Any:
    """A server of a model, started as the tests start theirs, until the block ends."""
    sys.path.insert(0, str(ROOT / "tests"))
    from served import running as start

    return start(model, log, *flags)


@contextmanager
def large_model(tokenizer: Any) -> Iterator[Path]:
    """A directory with a randomly initialised model that costs something to run."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=1000,
        hidden_size=640,
        intermediate_size=1920,
        num_hidden_layers=9,
        num_attention_heads=10,
        num_key_value_heads=5,
        head_dim=64,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        Qwen3ForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        yield Path(folder)


def main() -> None:
    """Runs the measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a running server of the starter teacher")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--large", action="store_true", help="also a larger model, with and without a tokenizer")
    chosen = parser.parse_args()
    registry = PluginRegistry.load(third_party=False)
    student = load_model("starter", registry=registry)
    model = load_model("starter-teacher", registry=registry)
    local = LocalTeacher(LocalConfig(model="starter-teacher"), model)
    played = episodes(registry, chosen.episodes)

    def teacher(url: str, of: LoadedModel | None = student) -> VllmTeacher:
        return VllmTeacher(VllmConfig(url=url), student=of)

    starter = ROOT / "envs" / "agentdistill_alfworld" / "starters" / "teacher"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with nullcontext() if chosen.url else running(starter, log) as server:
            made = teacher(chosen.url or server.url)
            parity(made, local, model, played)
            requests(made, played)
            costs(made, played, chosen.rounds, "starter teacher")
        if chosen.url:
            return
        with running(starter, log, "--skip-tokenizer-init") as server:
            costs(teacher(server.url), played, chosen.rounds, "starter teacher, --skip-tokenizer-init")
        if chosen.large:
            with large_model(student.tokenizer) as large, running(large, log) as server:
                costs(teacher(server.url), played[:4], chosen.rounds, "45 million parameters")


if __name__ == "__main__":
    main()
