"""Where a server's time goes when it answers with the most likely tokens: the parts of vLLM that handle them, alone.

    "$AGENTDISTILL_VLLM_PYTHON" scripts/bench_served_logprobs.py

Runs in the environment of vLLM, without a server: each part of the way from the sampler's tensors to scores in the
client is called as the server calls it, on the tensors of one row of 1,000 tokens. Times are the process's own (medians
of five), so they hold on a busy machine; the forward pass, which costs whatever the model costs, is not among them.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from vllm.entrypoints.openai.completion.protocol import CompletionResponse, CompletionResponseChoice
from vllm.entrypoints.serve.engine.protocol import UsageInfo
from vllm.tokenizers import get_tokenizer
from vllm.v1.engine.logprobs import LogprobsProcessor
from vllm.v1.outputs import LogprobsTensors

from agentdistill_teachers.vllm_reply import read_scores

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "envs" / "agentdistill_alfworld" / "starters" / "teacher"
TOKENS, VOCABULARY, ROUNDS = 1000, 1000, 5


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    began = time.process_time()
    value = work()
    return time.process_time() - began, value


def once(tokenizer: Any, k: int, ids: list[int], logprobs: torch.Tensor) -> dict[str, float]:
    """CPU seconds of each part for one row."""
    best = logprobs.topk(k, dim=-1)
    own = torch.tensor(ids[1:])[:, None]
    values = torch.cat([logprobs.gather(1, own), best.values], dim=1)
    ranks = (logprobs >= logprobs.gather(1, own)).sum(-1)
    tensors = LogprobsTensors(torch.cat([own, best.indices], dim=1).int(), values, ranks)
    processor = LogprobsProcessor(tokenizer, None, [None], None, None, k)
    objects, _ = timed(lambda: processor._update_prompt_logprobs(tensors))
    entries = processor.prompt_logprobs

    def answer() -> str:
        choice = CompletionResponseChoice(
            index=0, text="", finish_reason="length", prompt_logprobs=entries, prompt_token_ids=ids, token_ids=[5]
        )
        usage = UsageInfo(prompt_tokens=len(ids), total_tokens=len(ids) + 1, completion_tokens=1)
        return json.dumps(CompletionResponse(model="m", choices=[choice], usage=usage).model_dump())

    written, text = timed(answer)
    decoded, value = timed(lambda: json.loads(text))
    read, _ = timed(lambda: read_scores(value, ids, np.arange(1, len(ids)), k))
    parts = {"one object a log-probability": objects, "the answer as JSON": written}
    return parts | {"client: JSON": decoded, "client: scores": read, "bytes": float(len(text))}


def main() -> None:
    """Prints a table of microseconds per token."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 900, (TOKENS,), generator=generator).tolist()
    logprobs = torch.randn(TOKENS - 1, VOCABULARY, generator=generator).mul(3).log_softmax(-1)
    tokenizer = get_tokenizer(str(STARTER))
    gc.collect()
    gc.freeze()  # as the server does when it is ready: what was imported is never looked through again
    print(f"microseconds of CPU a token, one row of {TOKENS:,}")
    for label, decoder in (("with texts", tokenizer), ("--skip-tokenizer-init", None)):
        for k in (0, 20, 64):
            rounds = [once(decoder, k, ids, logprobs) for _ in range(ROUNDS)]
            medians = {name: statistics.median(parts[name] for parts in rounds) for name in rounds[0]}
            size = medians.pop("bytes") / TOKENS
            shown = " · ".join(f"{name} {1e6 * seconds / TOKENS:.0f}" for name, seconds in medians.items())
            print(f"{label}, top {k}: {shown} · together {1e6 * sum(medians.values()) / TOKENS:.0f}, {size:,.0f} bytes")


if __name__ == "__main__":
    main()
