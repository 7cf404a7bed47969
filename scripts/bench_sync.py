#!/usr/bin/env python
"""Time of a weight sync of the engine `vllm`, the probe included: state dict, checkpoint path, adapter in place.

    python scripts/bench_sync.py                       # in this process: the interpreter must have vLLM
    python scripts/bench_sync.py --python PYTHON       # with a server of that interpreter

Prints a Markdown row for each way: wall-clock seconds (best and median) and CPU seconds of this process. On a machine
that does other things, too, the CPU seconds are the number to look at; a server's own are not among them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import torch

from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.models import LoadedModel, count_parameters, load_model
from agentdistill.plugins import PluginRegistry
from agentdistill_engines.vllm import VllmConfig, VllmEngine
from agentdistill_engines.vllm_config import Way


def nudge(model: LoadedModel, generator: torch.Generator) -> None:
    """Moves every weight that learns, as an optimiser step would."""
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.requires_grad:
                parameter.add_(1e-4 * torch.sign(torch.randn(parameter.shape, generator=generator)))


def measure(name: str, lora: bool, way: Way, python: str | None, steps: int) -> str:
    """Syncs some steps and returns a row of the table."""
    model = load_model(name, registry=PluginRegistry.load())
    if lora:
        model.model = add_lora(model.model, LoraSettings(rank=32))
    options = {"enforce_eager": True}
    engine = VllmEngine(VllmConfig(python=python, sync=way, max_context=1024, options=options), model)
    generator = torch.Generator().manual_seed(0)
    wall, cpu, worst = [], [], 0.0
    try:
        for step in range(steps):
            nudge(model, generator)
            began, used = time.perf_counter(), time.process_time()
            engine.sync(step)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
            worst = max(worst, engine.metrics()["probe_gap"])
    finally:
        engine.close()
    where = "server of its own" if python else "this process"
    what = {"weights": "checkpoint path" if python else "state dict", "adapter": "adapter in place"}[way]
    size = f"{count_parameters(model.model) / 1e6:.2g} M" + (", LoRA 32" if lora else "")
    return (
        f"| {where} | {what} | {name} ({size}) | {min(wall[1:]):.3f} | {statistics.median(wall[1:]):.3f} | "
        f"{statistics.median(cpu[1:]):.3f} | {worst:.0e} |"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="a registered model, directory or hub id")
    parser.add_argument("--python", help="an interpreter that has vLLM: measure with a server")
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| where | how | student | best, s | median, s | CPU here, s | probe, nats |")
    print("|---|---|---|---|---|---|---|")
    ways: tuple[tuple[bool, Way], ...] = ((False, "weights"), (True, "weights"), (True, "adapter"))
    for lora, way in ways:
        if not (arguments.python and lora and way == "weights"):
            print(measure(arguments.model, lora, way, arguments.python, arguments.steps), flush=True)


if __name__ == "__main__":
    main()
