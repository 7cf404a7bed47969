"""Chat templates rendered incrementally: token ids in, token ids out, nothing sampled is ever tokenised again."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from agentdistill.conversation.base import Message
from agentdistill.errors import TokenizationError
from agentdistill.hashing import digest

Pair = tuple[str, str]
"""(role, content) of one message."""

_RESPONSES = ("go to desk 1", "<think>\nThe desk is near.\n</think>\n<action>go to desk 1</action>")
_CACHED = 8192


class ChatRenderer:
    """Turns messages into token ids with a tokenizer's chat template.

    A conversation that only grows is rendered once: `prompt` gives the ids before the first response, and
    `continuation` those between a response's terminator and the next response. That is right only for templates
    that render history the same way at every turn, so the template is probed here.

    Args:
        tokenizer: a `transformers` tokenizer with a chat template.
        per_turn: accept any template and render every prompt as a whole. Right for context policies that show one
            fresh prompt a turn; sampled tokens then never return as history.
        template_options: variables passed to the template, e.g. {"enable_thinking": False}.
        extra_stop_ids: more tokens that end a response, e.g. those of the model's generation config.

    Attributes:
        incremental: the template keeps what it rendered when a conversation grows.
        problem: why it does not; "" when it does.
        terminator: the token id the template writes after a response (the end-of-sequence token for a template
            that is not incremental and writes none).
        stop_ids: token ids that end a response: the terminator first, then the tokenizer's end-of-sequence token.

    Raises:
        TokenizationError: there is no template, no single special token ends a response, or the template is not
            prefix-preserving and `per_turn` is off.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        per_turn: bool = False,
        template_options: Mapping[str, Any] | None = None,
        extra_stop_ids: Sequence[int] = (),
    ) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise TokenizationError(
                "The tokenizer has no chat template.",
                "Only a template says how turns become tokens.",
                "Use an instruct or chat model, or set `tokenizer.chat_template`.",
            )
        self.tokenizer = tokenizer
        self._options = dict(template_options or {})
        self._system = self._takes_system()
        self.problem = self._probe()
        self.incremental = not self.problem
        if self.problem and not per_turn:
            raise TokenizationError(
                "The chat template is not prefix-preserving, so a growing conversation cannot be one token row.",
                self.problem,
                "Use a context policy that shows a fresh prompt each turn (such as a windowed one), or a tokenizer "
                "whose template keeps every message as it was first rendered.",
            )
        self.terminator = self._find_terminator()
        stops = [self.terminator, tokenizer.eos_token_id, *extra_stop_ids]
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys(int(stop) for stop in stops if stop is not None))
        self._encode_cached = functools.lru_cache(_CACHED)(self._encode)
        self._continuation_cached = functools.lru_cache(_CACHED)(self._continuation)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits over the template and its options; part of a run's provenance."""
        return digest([self.tokenizer.chat_template, sorted(map(str, self._options.items()))])[:16]

    def prompt(self, messages: Sequence[Message], sampled: Mapping[int, Sequence[int]] | None = None) -> list[int]:
        """The ids of a whole conversation, up to where the next response begins.

        Args:
            messages: the conversation; the last one is not the assistant's.
            sampled: token ids of earlier responses by step, each closed by a terminator; they are put in as they
                are. Assistant messages of other steps are tokenised from their text.

        Returns:
            Token ids.

        Raises:
            TokenizationError: the template rejects the messages.
        """
        if not self.incremental:
            return self._encode(self._text([(m.role, m.content) for m in messages]))
        parts: list[list[Pair]] = [[]]
        responses: list[Sequence[int]] = []
        for message in messages:
            if message.role == "assistant":
                known = (sampled or {}).get(message.step) if message.step is not None else None
                responses.append(known if known is not None else self.response(message.content))
                parts.append([])
            else:
                parts[-1].append((message.role, message.content))
        if not all(parts):
            raise TokenizationError(
                "A conversation has a response with nothing before it or nothing after it.",
                f"Its roles are {', '.join(m.role for m in messages)}.",
                "A context policy must begin with a system or user message, put one between two responses, and end "
                "with one.",
            )
        ids = list(self._encode_cached(self._text(parts[0])))
        for response, part in zip(responses, parts[1:], strict=True):
            ids.extend(response)
            ids.extend(self._continuation_cached(tuple(part)))
        return ids

    def continuation(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids between a response's terminator and the next response, `messages` being said in between.

        Raises:
            TokenizationError: the template is not prefix-preserving.
        """
        if not self.incremental:
            raise TokenizationError("This conversation cannot be continued token by token.", self.problem)
        return self._continuation_cached(tuple((m.role, m.content) for m in messages))

    def response(self, text: str) -> list[int]:
        """The ids of a response somebody else wrote, terminator included (tokenised apart from its prompt)."""
        return [*self._encode_cached(text), self.terminator]

    def closed(self, response: Sequence[int]) -> list[int]:
        """A sampled response with the template's terminator forced after it, unless it ends with it already."""
        ids = list(response)
        return ids if ids and ids[-1] == self.terminator else [*ids, self.terminator]

    def decode(self, response: Sequence[int]) -> str:
        """The text of a sampled response, without the token that ended it."""
        ids = list(response)
        if ids and ids[-1] in self.stop_ids:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _text(self, pairs: Sequence[Pair], generation: bool = True) -> str:
        messages = [{"role": role, "content": content} for role, content in pairs]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generation, **self._options
            )
        except Exception as error:  # jinja2 errors, and whatever a template raises on purpose
            raise TokenizationError(
                "The chat template cannot render a conversation.",
                f"For the roles {', '.join(role for role, _ in pairs)} it says: {error}.",
                "Use a context policy without the role it rejects (for example without `system`), or another template.",
            ) from error
        return str(text)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _continuation(self, pairs: tuple[Pair, ...]) -> tuple[int, ...]:
        stub: list[Pair] = [("user", "."), ("assistant", _RESPONSES[0])]
        return tuple(self._encode(self._after(stub[:1], stub[1], list(pairs)))[1:])

    def _after(self, before: list[Pair], response: Pair, then: list[Pair]) -> str:
        """What the template writes after a response, from its terminator on; "" when it changes what came before."""
        prompt = self._text(before) + response[1]
        whole = self._text([*before, response, *then])
        return whole[len(prompt) :] if whole.startswith(prompt) else ""

    def _takes_system(self) -> bool:
        try:
            return "Be brief." in self._text([("system", "Be brief."), ("user", "Hello.")])
        except TokenizationError:
            return False

    def _probe(self) -> str:
        """Renders growing conversations; says what is wrong with the template, or ""."""
        for response in _RESPONSES:
            for system in ([], [("system", "Be brief.")])[: 1 + self._system]:
                history: list[Pair] = [*system, ("user", "You see a desk 1.")]
                for turn in range(3):
                    then: list[Pair] = [("user", f"You see a lamp {turn}. What now?")]
                    after = self._after(history, ("assistant", response), then)
                    if not after:
                        kind = "strips or rewrites reasoning in" if "<think>" in response else "rewrites"
                        return f"It {kind} earlier responses once the conversation goes on (turn {turn + 1})."
                    if after != self._after([("user", ".")], ("assistant", _RESPONSES[0]), then):
                        return f"What it writes between two responses depends on the history (turn {turn + 1})."
                    history += [("assistant", response), *then]
        return ""

    def _find_terminator(self) -> int:
        text = self._text([("user", "."), ("assistant", _RESPONSES[0])], generation=False)
        at = text.rfind(_RESPONSES[0])
        tail = text[at + len(_RESPONSES[0]) :] if at >= 0 else ""
        if self.incremental:
            tail = self._after([("user", ".")], ("assistant", _RESPONSES[0]), [("user", ".")])
        ids = self._encode(tail)
        special = {*self.tokenizer.all_special_ids, self.tokenizer.eos_token_id}
        special |= {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        if ids and ids[0] in special:
            return int(ids[0])
        if not self.incremental and self.tokenizer.eos_token_id is not None:
            return int(self.tokenizer.eos_token_id)  # nothing is ever written after a response
        raise TokenizationError(
            "The chat template does not end a response with a special token.",
            f"After a response it writes {tail[:40]!r}.",
            "Use a template that closes the assistant's turn with a special token such as <|im_end|>.",
        )


def renderer_for(tokenizer: Any, context: Any, **options: Any) -> ChatRenderer:
    """The renderer a context policy needs: one that shows a fresh prompt each turn works with every template.

    Args:
        tokenizer: a `transformers` tokenizer with a chat template.
        context: the context policy; its attribute `fresh_rows`, if it has one, says that it never grows a row.
        options: passed to `ChatRenderer`.

    Raises:
        TokenizationError: the template does not suit the policy.
    """
    return ChatRenderer(tokenizer, per_turn=bool(getattr(context, "fresh_rows", False)), **options)
