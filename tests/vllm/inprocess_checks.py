"""What test_engine_inprocess.py runs in vLLM's own interpreter: prints one JSON object with everything it found.

Run it as `python inprocess_checks.py STUDENT_DIRECTORY`; it wants `tests` on the path.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from agentdistill.conversation.base import Message
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import TrainingError
from agentdistill.learner.lora import LoraSettings, add_lora
from agentdistill.models import LoadedModel, load_model
from agentdistill_engines.hf import HfConfig, HfEngine
from agentdistill_engines.vllm import VllmConfig, VllmEngine

CONTEXT = 512
GAMES = [f"You see a desk {i}, a bed 1 and a mug 2. Your task is to: put the mug on desk {i}." for i in range(7)]


def nudge(model: Any, by: float, seed: int) -> None:
    """Moves every weight that learns by as much, as an optimiser step with that learning rate would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.sign(torch.randn(parameter.shape, generator=generator)))


def same(left: list[Generation], right: list[Generation]) -> bool:
    return [(one.token_ids, one.finish) for one in left] == [(one.token_ids, one.finish) for one in right]


def gap(left: list[Generation], right: list[Generation]) -> float:
    return max(
        abs(a - b) for x, y in zip(left, right, strict=True) for a, b in zip(x.logprobs, y.logprobs, strict=True)
    )


@torch.no_grad()
def learner_gap(model: LoadedModel, requests: list[GenerationRequest], found: list[Generation]) -> float:
    """Largest difference between reported log-probabilities and those of a plain forward pass at temperature 1."""
    worst = 0.0
    for request, one in zip(requests, found, strict=True):
        row = torch.tensor([[*request.prompt, *one.token_ids]])
        scores = model.model(input_ids=row).logits[0, len(request.prompt) - 1 : -1].float().log_softmax(-1)
        for place, (index, value) in enumerate(zip(one.token_ids, one.logprobs, strict=True)):
            worst = max(worst, abs(float(scores[place, index]) - value))
    return worst


class Fault:
    """Something that goes wrong between learner and vLLM, while the block lasts."""

    def __init__(self, engine: VllmEngine, kind: str) -> None:
        self.backend, self.kind = engine._backend, kind

    def __enter__(self) -> None:
        import agentdistill_engines.vllm_inprocess as module

        self.module, self.merged = module, module.merged_weights
        if self.kind == "sync skipped":
            self.backend.push = lambda *_: None
        elif self.kind == "prefix cache kept":
            self.backend.reset = lambda: None
        else:
            merged = self.merged
            module.merged_weights = lambda model: (
                (name, tensor) for name, tensor in merged(model) if name != "lm_head.weight"
            )

    def __exit__(self, *_: object) -> None:
        vars(self.backend).pop("push", None)
        vars(self.backend).pop("reset", None)
        self.module.merged_weights = self.merged


def sampling_checks(engine: VllmEngine, student: LoadedModel, renderer: ChatRenderer) -> dict[str, Any]:
    reference = HfEngine(HfConfig(max_context=CONTEXT), student)
    prompts = [renderer.prompt([Message("user", text)]) for text in GAMES]
    requests = [GenerationRequest(f"s{i}", prompt, seed=2**63 + 99 * i) for i, prompt in enumerate(prompts)]
    greedy = Sampling(24, renderer.stop_ids, 0.0, top_k=5)
    mine, theirs = engine.generate(requests, greedy), reference.generate(requests, greedy)
    warm = Sampling(24, renderer.stop_ids, 1.3, 0.95)
    sampled = engine.generate(requests, warm)
    alone = [engine.generate([request], warm)[0] for request in requests]
    other = engine.generate([GenerationRequest("x", one.prompt, seed=one.seed + 1) for one in requests], warm)
    allowed = tuple(tuple(renderer.response(f"{verb} {i}")) for verb in ("go to desk", "take mug") for i in range(4))
    bound = [GenerationRequest(f"b{i}", prompt, seed=i, allowed=allowed) for i, prompt in enumerate(prompts)]
    choice, chosen = engine.generate(bound, greedy), reference.generate(bound, greedy)
    drawn = engine.generate(bound, warm)
    short, full = engine.generate(
        [GenerationRequest("t", [5] * (CONTEXT - 3)), GenerationRequest("f", [5] * CONTEXT)], Sampling(8, (), 1.0)
    )
    cut = engine.generate(requests, Sampling(2, renderer.stop_ids, 0.0))
    return {
        "greedy_same": same(mine, theirs),
        "greedy_gap": gap(mine, theirs),
        "top_same": [one.top_ids for one in mine] == [one.top_ids for one in theirs],
        "stops": [one.token_ids[-1] in renderer.stop_ids for one in mine if one.finish == "stop"],
        "sampled_learner_gap": learner_gap(student, requests, sampled),
        "sampled_alone_same": same(sampled, alone),
        "other_seed_differs": not same(sampled, other),
        "allowed_greedy_same": same(choice, chosen),
        "allowed_gap": gap(choice, chosen),
        "allowed_only": all(tuple(one.token_ids) in allowed for one in drawn),
        "allowed_varied": len({tuple(one.token_ids) for one in drawn}),
        "allowed_learner_gap": learner_gap(student, bound, drawn),
        "tight": [len(short.token_ids), short.finish],
        "context": [full.token_ids, full.finish],
        "cut": sorted({one.finish for one in cut}),
    }


def sync_checks(engine: VllmEngine, student: LoadedModel, renderer: ChatRenderer) -> dict[str, Any]:
    found: dict[str, Any] = {"caught": {}, "gaps": [], "cpu": []}
    for number, by in enumerate((1e-2, 1e-4, 1e-5)):
        for kind in ("sync skipped", "prefix cache kept", "output layer left out"):
            nudge(student.model, by, 10 * number)
            with Fault(engine, kind):
                try:
                    engine.sync(1)
                    found["caught"][f"{kind} {by:g}"] = ""
                except TrainingError as error:
                    found["caught"][f"{kind} {by:g}"] = str(error)
            engine.sync(2)
        nudge(student.model, by, 10 * number + 1)
        began = time.process_time()
        engine.sync(3)
        found["cpu"].append(time.process_time() - began)
        found["gaps"].append(engine.metrics()["probe_gap"])
    requests = [GenerationRequest(f"g{i}", renderer.prompt([Message("user", text)])) for i, text in enumerate(GAMES)]
    greedy = Sampling(16, renderer.stop_ids, 0.0)
    mine = engine.generate(requests, greedy)
    found["after_same"] = same(mine, HfEngine(HfConfig(max_context=CONTEXT), student).generate(requests, greedy))
    return found


def main(path: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    student = load_model(path)
    renderer = ChatRenderer(student.tokenizer, per_turn=True)
    config = VllmConfig(max_context=CONTEXT, options={"enforce_eager": True})
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    engine = VllmEngine(config, student)
    found: dict[str, Any] = {
        "undisturbed": torch.equal(state, torch.get_rng_state()) and threads == torch.get_num_threads(),
        "line": engine.check([])[0],
        "read_from_disk": engine._backend.fresh,
        "sampling": sampling_checks(engine, student, renderer),
        "sync": sync_checks(engine, student, renderer),
    }
    engine.close()

    adapted = load_model(path)
    adapted.model = add_lora(adapted.model, LoraSettings(rank=12))
    nudge(adapted.model, 1e-2, 7)  # a trained adapter, as a resumed run or an evaluation has
    found["adapter"] = {}
    for way in ("weights", "adapter"):
        engine = VllmEngine(config.model_copy(update={"sync": way}), adapted)
        gaps = [engine.metrics()["probe_gap"]]
        nudge(adapted.model, 1e-3, 8)
        engine.sync(1)
        gaps.append(engine.metrics()["probe_gap"])
        requests = [
            GenerationRequest(f"g{i}", renderer.prompt([Message("user", text)])) for i, text in enumerate(GAMES)
        ]
        greedy = Sampling(16, renderer.stop_ids, 0.0)
        local = HfEngine(HfConfig(max_context=CONTEXT), adapted).generate(requests, greedy)
        found["adapter"][way] = {"gaps": gaps, "same": same(engine.generate(requests, greedy), local)}
        engine.close()
    return found


if __name__ == "__main__":
    outcome = main(sys.argv[1])
    print("FOUND " + json.dumps(outcome))
