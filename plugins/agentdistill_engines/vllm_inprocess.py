"""vLLM in this process: weights are handed over in memory, nothing is written."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import ConfigError, import_extra
from agentdistill.learner.merged import merged_weights
from agentdistill_engines.vllm_backend import ADAPTER, Answer, Ask, Draw
from agentdistill_engines.vllm_weights import Folders, write_adapter

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill_engines.vllm_config import Way

DEFAULTS: Mapping[str, Any] = {"enable_prefix_caching": True, "disable_log_stats": True, "gpu_memory_utilization": 0.4}
"""The learner lives on the same device, so vLLM may not take all its memory."""


class InProcess:
    """An `LLM` beside the learner.

    Args:
        source: directory or hub id of the model.
        fresh: what lies there is the student to the last bit.
        dtype: what vLLM computes in.
        context: most tokens of a row.
        rank: rank vLLM reserves for an adapter; 0 is none.
        folder: for files that must be.
        options: arguments of `vllm.LLM`.

    Raises:
        MissingExtraError: vLLM is not installed.
        ConfigError: it does not start.
    """

    def __init__(
        self,
        source: str,
        *,
        fresh: bool,
        dtype: str,
        context: int | None,
        rank: int,
        folder: Path,
        options: Mapping[str, Any],
    ) -> None:
        # Read when vLLM is imported. One process: only then can tensors be handed over as they are.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the learner's threads are not vLLM's to bind
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        self.fresh = fresh
        given = {**DEFAULTS, **options}
        if rank:
            given |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
        with _undisturbed():
            self._vllm: Any = import_extra("vllm", "vllm", "The engine `vllm` without a `url` or `python`")
            try:
                self._llm: Any = self._vllm.LLM(
                    model=source,
                    dtype=dtype,
                    max_model_len=context,
                    seed=0,
                    logprobs_mode="raw_logprobs",
                    distributed_executor_backend="uni",
                    skip_tokenizer_init=True,
                    **given,
                )
            except Exception as error:
                raise cannot_start(error) from error
        self.context_length = int(self._llm.llm_engine.vllm_config.model_config.max_model_len)
        self.name = f"vllm {self._vllm.__version__} in this process"
        self._folders = Folders(folder)
        self._adapter: Any = None

    def sample(self, asks: Sequence[Ask], draw: Draw) -> list[Answer]:
        """One response for each, in order."""
        from vllm import SamplingParams

        params = [SamplingParams(**draw.body(ask), detokenize=False) for ask in asks]
        prompts = [{"prompt_token_ids": list(ask.prompt)} for ask in asks]
        outputs = self._llm.generate(prompts, params, use_tqdm=False, lora_request=self._adapter)
        answers = []
        for output in outputs:
            (one,) = output.outputs
            places = [{int(index): entry.logprob for index, entry in place.items()} for place in one.logprobs]
            ids = [int(index) for index in one.token_ids]
            own = [place[index] for index, place in zip(ids, places, strict=True)]
            answers.append(Answer(ids, own, str(one.finish_reason), list(places)))
        return answers

    def push(self, model: LoadedModel, way: Way) -> None:
        """The adapter through a file, everything else as an iterator of tensors."""
        if way == "adapter":
            from vllm.lora.request import LoRARequest

            path = self._folders.next("adapter")
            write_adapter(model, path)
            self._llm.llm_engine.add_lora(LoRARequest(ADAPTER, 1, str(path), load_inplace=True))
            self._adapter = LoRARequest(ADAPTER, 1, str(path))
            return
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": merged_weights(model.model)})

    def reset(self) -> None:
        """Empties the prefix cache."""
        self._llm.reset_prefix_cache()

    def close(self) -> None:
        """Lets go of the model's memory."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()


def cannot_start(error: Exception) -> ConfigError:
    """The error for a vLLM that does not start, with its own words about why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ConfigError(
        "vLLM does not start.",
        f"{type(error).__name__}: {' '.join(lines)[:600]}",
        "Its options are under engine.options; less memory is taken with a smaller engine.max_context, "
        "options.gpu_memory_utilization, or on a CPU a smaller VLLM_CPU_KVCACHE_SPACE.",
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps what vLLM's start changes for the whole process: global random states, and how torch counts threads."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    set_threads, threads = torch.set_num_threads, torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
