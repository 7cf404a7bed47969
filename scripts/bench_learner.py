"""Measures the learner: one row per episode against one per turn, fed whole or what they share once; fused divergences.

Usage: python scripts/bench_learner.py [--quick] [--json FILE]

Times are CPU seconds of one thread (best of n), so that they mean something on a shared machine. Memory is the peak
resident size of a fresh process above what it held when the measured call began.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch import Tensor

from agentdistill.learner import prefixes
from agentdistill.learner.kernels import SampledLogprobs, fused_head
from agentdistill.learner.learner import Learner
from agentdistill.learner.losses import FullDivergence, TeacherHead
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.records import CONTEXT, EpisodePlan, Step, StopReason, Task, TeacherScores, TokenRow, Trajectory
from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.opd import OpdConfig, OpdLoss

torch.set_num_threads(1)
WORTH_IT = prefixes.WORTH_IT
VOCABULARY, STUDENT_HIDDEN, TEACHER_HIDDEN = 151_936, 256, 512


def machine() -> str:
    """One line about where this was measured."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    processor = names[0] if names else platform.processor()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, 1 thread used, {versions}"


def table(rows: list[list[str]]) -> str:
    """A Markdown table that is aligned on a terminal, too: names to the left, numbers to the right."""
    first, *rest = (max(len(row[i]) for row in rows) for i in range(len(rows[0])))
    lines = [[row[0].ljust(first), *(cell.rjust(w) for cell, w in zip(row[1:], rest, strict=True))] for row in rows]
    lines.insert(1, ["-" * first, *("-" * (w - 1) + ":" for w in rest)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# --- one row per episode against one row per turn --------------------------------------------------------------------


def tiny_qwen(hidden: int = 128, layers: int = 4, vocabulary: int = 2048) -> Any:
    """A Qwen3 of about a million parameters."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=vocabulary,
                hidden_size=hidden,
                intermediate_size=3 * hidden,
                num_hidden_layers=layers,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=hidden // 4,
                max_position_embeddings=8192,
                tie_word_embeddings=True,
            )
        ).eval()


def episodes(count: int, turns: int, observation: int, action: int, merged: bool) -> tuple[list[Trajectory], Any]:
    """Random episodes with their scores, as one growing row or as one row per turn."""
    made, scores = [], []
    for number in range(count):
        rng = np.random.default_rng(number)
        length = turns * (observation + action)
        ids = rng.integers(3, 2048, length).astype(np.int32)
        position = np.arange(length)
        owner = np.where(position % (observation + action) < observation, CONTEXT, position // (observation + action))
        old, teacher = rng.normal(-7.6, 0.05, (2, length)).astype(np.float32)
        cuts = [length] if merged else [(k + 1) * (observation + action) for k in range(turns)]
        rows, opinions = [], []
        for k, cut in enumerate(cuts):
            own = owner[:cut].astype(np.int32) if merged else np.where(owner[:cut] == k, k, CONTEXT).astype(np.int32)
            mask = own >= 0
            rows.append(TokenRow(ids[:cut], own, mask, np.where(mask, old[:cut], np.nan).astype(np.float32)))
            lt = np.where(mask, teacher[:cut], np.nan).astype(np.float32)
            opinions.append(TeacherScores(lt, mask.copy()))
        steps = [
            Step(
                index=k,
                observation="",
                response="",
                action="",
                row=0 if merged else k,
                start=k * (observation + action) + observation,
                end=(k + 1) * (observation + action),
            )
            for k in range(turns)
        ]
        task = Task("bench", "train", str(number))
        made.append(Trajectory(task, EpisodePlan(), steps, rows, StopReason.SUCCESS))
        scores.append(opinions)
    return made, scores


def bench_rows(repeats: int) -> dict[str, Any]:
    """Times one gradient of a batch of 12-turn episodes in three ways and compares the gradients."""
    model = tiny_qwen()
    learner = Learner(model, loss=OpdLoss(OpdConfig()), settings=LearnerSettings(batch_tokens=4096, grad_clip=0.0))
    result: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    gradients = {}
    merged, per_turn = (episodes(4, 12, 96, 12, together) for together in (True, False))
    ways = {"merged": (merged, WORTH_IT), "shared": (per_turn, WORTH_IT), "per_turn": (per_turn, 0.0)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, (batch, worth_it) in ways.items():
            prefixes.WORTH_IT = worth_it
            began = time.process_time()
            learner.accumulate(*batch)
            if repeat:  # the first one warms up
                times[name].append(time.process_time() - began)
            gradients[name] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            result[f"{name}_tokens"] = sum(len(row) for t in batch[0] for row in t.rows)
    prefixes.WORTH_IT = WORTH_IT
    for name, values in times.items():
        result[name] = statistics.median(values)
    result["gradient_max"] = float(gradients["merged"].abs().max())
    result["gradient_difference"] = max(float((g - gradients["merged"]).abs().max()) for g in gradients.values())
    return result


# --- the fused divergence against the naive one ----------------------------------------------------------------------


def naive_reverse_kl(hidden: Tensor, weight: Tensor, teacher: TeacherHead) -> Tensor:
    """Mean KL(student || teacher) with all logits in memory."""
    student = (hidden @ weight.T).log_softmax(-1)
    reference = (teacher.hidden @ teacher.weight.T).log_softmax(-1)
    return (student.exp() * (student - reference)).sum(-1).mean()


def fused(hidden: Tensor, weight: Tensor, teacher: TeacherHead, beta: float) -> Tensor:
    """The mean generalised JSD through the chunked kernel."""
    count = len(hidden)
    zero, nan = torch.zeros(count, dtype=torch.int64), torch.zeros(count)
    tokens = TokenStatistics(zero, zero, zero, zero, zero, nan, nan, nan)
    loss = FullDivergence(generalised_jsd(beta)).chunk_loss(tokens, teacher)
    return fused_head(hidden, weight, None, loss, torch.full((count,), 1.0 / count))[0]


def fused_sampled(hidden: Tensor, weight: Tensor, teacher: TeacherHead) -> Tensor:
    """Mean cross-entropy of sampled tokens through the chunked kernel."""
    count = len(hidden)
    targets = torch.arange(count) % len(weight)
    return fused_head(hidden, weight, None, SampledLogprobs(targets), torch.full((count,), 1.0 / count))[0]


def naive_sampled(hidden: Tensor, weight: Tensor, teacher: TeacherHead) -> Tensor:
    """Mean cross-entropy of sampled tokens with all logits in memory."""
    targets = torch.arange(len(hidden)) % len(weight)
    return torch.nn.functional.cross_entropy(hidden @ weight.T, targets)


KERNELS = {
    "naive reverse KL": naive_reverse_kl,
    "fused reverse KL": lambda h, w, t: fused(h, w, t, 1.0),
    "fused forward KL": lambda h, w, t: fused(h, w, t, 0.0),
    "fused JSD 0.5": lambda h, w, t: fused(h, w, t, 0.5),
    "naive sampled token": naive_sampled,
    "fused sampled token": fused_sampled,
}


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) // 1024


def measure(kernel: str, tokens: int, repeats: int) -> dict[str, float]:
    """Runs one kernel in this process and reports its extra peak memory and CPU time."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, STUDENT_HIDDEN, generator=generator)
    weight = torch.empty(VOCABULARY, STUDENT_HIDDEN).normal_(0, 0.02, generator=generator).requires_grad_()
    teacher = TeacherHead(
        torch.randn(tokens, TEACHER_HIDDEN, generator=generator),
        torch.empty(VOCABULARY, TEACHER_HIDDEN).normal_(0, 0.02, generator=generator),
    )
    hidden.requires_grad_()
    before, peak, times = resident("VmRSS"), 0, []
    value, norm = 0.0, 0.0
    for _ in range(repeats):
        hidden.grad = weight.grad = None
        began = time.process_time()
        loss = KERNELS[kernel](hidden, weight, teacher)
        loss.backward()
        times.append(time.process_time() - began)
        peak = max(peak, resident("VmHWM"))
        assert hidden.grad is not None
        value, norm = float(loss.detach()), float(hidden.grad.norm())
        del loss
    return {"extra_mib": peak - before, "cpu_s": min(times), "loss": value, "grad_hidden": norm}


def bench_kernels(tokens: list[int], repeats: int) -> list[dict[str, Any]]:
    """Each kernel and size in a process of its own."""
    results = []
    for count in tokens:
        for kernel in KERNELS:
            command = [sys.executable, __file__, "--measure", kernel, "--tokens", str(count), "--repeats", str(repeats)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append({"kernel": kernel, "tokens": count, **json.loads(done.stdout)})
    return results


def report(rows: dict[str, Any], kernels: list[dict[str, Any]]) -> str:
    """The tables as Markdown."""
    parts = [
        machine(),
        "",
        f"Gradient of 4 episodes of 12 turns (96 + 12 tokens), {rows['parameters'] / 1e6:.1f} M parameters:",
        "",
        table(
            [
                ["rows", "tokens", "cpu-s", "faster"],
                *(
                    [what, str(rows[f"{name}_tokens"]), f"{rows[name]:.2f}", f"{rows['per_turn'] / rows[name]:.1f}x"]
                    for name, what in (
                        ("per_turn", "one per turn, fed whole"),
                        ("shared", "one per turn, what they share once"),
                        ("merged", "one per episode"),
                    )
                ),
            ]
        ),
        "",
        f"Largest difference of a gradient entry: {rows['gradient_difference']:.1e}"
        f" (largest entry {rows['gradient_max']:.1e}).",
        "",
        f"Output layer of {VOCABULARY} x {STUDENT_HIDDEN} (teacher's {TEACHER_HIDDEN}), float32, gradients of both:",
        "",
    ]
    lines = [["kernel", "tokens", "extra peak MiB", "vs naive", "cpu-s", "vs naive", "loss", "|grad hidden|"]]
    for r in kernels:
        reference = "naive sampled token" if "sampled" in r["kernel"] else "naive reverse KL"
        base = next(k for k in kernels if k["kernel"] == reference and k["tokens"] == r["tokens"])
        lines.append(
            [
                r["kernel"],
                str(r["tokens"]),
                f"{r['extra_mib']:.0f}",
                f"{r['extra_mib'] / base['extra_mib']:.2f}",
                f"{r['cpu_s']:.2f}",
                f"{r['cpu_s'] / base['cpu_s']:.2f}",
                f"{r['loss']:.6f}",
                f"{r['grad_hidden']:.3e}",
            ]
        )
    return "\n".join([*parts, table(lines)])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, 512 tokens only")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--measure", choices=sorted(KERNELS), help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=512, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.tokens, options.repeats)))
        return
    rows = bench_rows(2 if options.quick else 5)
    kernels = bench_kernels([512] if options.quick else [512, 1024], 1 if options.quick else 3)
    print(report(rows, kernels))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows, "kernels": kernels}, indent=2) + "\n")


if __name__ == "__main__":
    main()
