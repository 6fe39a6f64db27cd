"""An open bundle: text in, text out."""

from __future__ import annotations

from array import array
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, Union

from .arguments import Message, Texts, conversation, most_tokens, prompt_ids, stops_of, texts_of, token_ids
from .context import Context
from .engine import TASK_EMBED, TASK_GENERATE, TASK_RUN, Engine, ModelInfo
from .errors import ContextFullError, RuntimeModelError
from .sampling import Sampling
from .stats import HeadStats, Meter, SpeculationStats, Stats
from .streaming import TextStream
from .tensors import TensorInfo, as_view, to_bytes

DOES = {  # by task
    TASK_GENERATE: "answers texts",
    TASK_EMBED: "makes embeddings",
    TASK_RUN: "computes tensors from tensors",
}
DOES_NOT = {
    TASK_GENERATE: "does not answer",
    TASK_EMBED: "makes no embeddings",
    TASK_RUN: "computes no tensors",
}
WAY_OUT = {
    TASK_GENERATE: "call generate or chat, or compile it with --pooling last or mean to embed",
    TASK_EMBED: "call embed(texts)",
    TASK_RUN: "call run(inputs)",
}


class Model:
    """A language model with one conversation in its KV cache, or one that embeds texts (`info.task`).

    Equal prompts and settings give equal text on every device. Errors are RuntimeModelError, one line each.
    Threads may share it: their calls take turns, and a new answer ends the one before. Two models of one
    bundle answer at the same time; they share the weights. After a fork, load it in the child.
    """

    def __init__(
        self, folder: Path, threads: Optional[int] = None, manifest: Optional[Dict[str, Any]] = None
    ) -> None:
        self.manifest = manifest or {}
        self._engine = Engine(folder, threads)
        self._context = Context(self._engine)
        self._run = 0
        self._stats = Stats()

    # ---- text ------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: Union[str, Sequence[int]],
        max_tokens: Optional[int] = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
        stop: Optional[Texts] = None,
        speculate: bool = True,
    ) -> Iterator[str]:
        """Continues a prompt (text, or token ids), piece by piece as the text is ready.

        Ends at a stop token, before a string of `stop`, after `max_tokens`, or with ContextFullError when the
        context is full. What the prompt shares with the run before is not evaluated again. `speculate`: try
        guesses of several tokens in one pass where that is faster; the text is the same.
        """
        self.require_task(TASK_GENERATE)
        ids = self.tokenize(prompt) if isinstance(prompt, str) else prompt_ids(prompt)
        sampling = Sampling(temperature, top_k, top_p, min_p, seed)
        continues = bool(ids) and not self._engine.text.is_special(ids[-1])
        return self._start(ids, max_tokens, sampling, TextStream(stops_of(stop), continues), speculate)

    def chat(
        self,
        messages: Sequence[Message],
        max_tokens: Optional[int] = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
        stop: Optional[Texts] = None,
        speculate: bool = True,
    ) -> Iterator[str]:
        """The assistant's answer to a conversation, piece by piece; the rest as in `generate`."""
        self.require_task(TASK_GENERATE)
        ids = self.chat_tokens(messages)
        sampling = Sampling(temperature, top_k, top_p, min_p, seed)
        return self._start(ids, max_tokens, sampling, TextStream(stops_of(stop)), speculate)

    @property
    def stats(self) -> Stats:
        """Figures of the last run that ended or was left."""
        return self._stats

    @property
    def speculation_stats(self) -> SpeculationStats:
        """What guessing tokens gained since the model was opened."""
        return self._engine.speculation_stats()

    @property
    def head_stats(self) -> HeadStats:
        """How tokens were found among the vocabulary since the model was opened."""
        return self._engine.head_stats()

    # ---- embeddings ------------------------------------------------------------------------------

    def embed(self, texts: Texts) -> List[array[float]]:
        """The embedding of each text: hidden_size float32 numbers, a vector of length 1.

        The dot product of two is their similarity, from -1 to 1; numpy.array(result) is a matrix. Raises
        ContextFullError for a text that is longer than the model's context.
        """
        self.require_task(TASK_EMBED)
        return [self._embed(text) for text in texts_of(texts, "texts")]

    def _embed(self, text: str) -> array[float]:
        ids = self._engine.text.tokenize(text, True, False, add_eos=True)
        if not ids:
            raise RuntimeModelError("a text is empty: there is nothing to embed")
        if len(ids) > self.info.context:
            raise ContextFullError(
                f"a text has {len(ids)} tokens, the context holds {self.info.context}: cut it into parts, "
                "or compile the model with a longer context"
            )
        return self._engine.embed(ids)

    # ---- tensors ---------------------------------------------------------------------------------

    def run(self, inputs: Any) -> Dict[str, memoryview[Any]]:
        """The outputs of a graph by name, for its inputs by name (`info.inputs`, `info.outputs`).

        An input is a buffer of its element type (array, memoryview, numpy array), the bytes of one, or lists
        of numbers; where there is one input it may be given alone. `tolist()` of an output gives numbers,
        numpy.asarray shares its memory. Raises RuntimeModelError naming the input that does not fit.
        """
        self.require_task(TASK_RUN)
        wanted = self.info.inputs
        if not isinstance(inputs, Mapping):
            if len(wanted) != 1:
                raise RuntimeModelError(
                    f"the model has {len(wanted)} inputs: give them by name, {_names(wanted)}"
                )
            inputs = {wanted[0].name: inputs}
        unknown = sorted(set(inputs) - {info.name for info in wanted})
        if unknown or len(inputs) < len(wanted):
            what = f"there is no input {unknown[0]!r}" if unknown else "an input is missing"
            raise RuntimeModelError(f"{what}: the model has {_names(wanted)}")
        results = self._engine.run([to_bytes(inputs[info.name], info) for info in wanted])
        return {info.name: as_view(data, info) for info, data in zip(self.info.outputs, results)}

    # ---- tokens ----------------------------------------------------------------------------------

    def tokenize(self, text: str, add_bos: bool = True, special: bool = False) -> List[int]:
        """Token ids of a text. special: read "<|eot_id|>" and the like as special tokens."""
        return self._engine.text.tokenize(text, add_bos, special)

    def detokenize(self, ids: Sequence[int], special: bool = False) -> str:
        """The text of tokens, as of one that begins with them. special: show special tokens too."""
        text = self._engine.text
        shown = [token for token in token_ids(ids) if special or not text.is_special(token)]
        pieces = [text.token_bytes(token, i == 0) for i, token in enumerate(shown)]
        return b"".join(pieces).decode("utf-8", "replace")

    def chat_tokens(self, messages: Sequence[Message], generation_prompt: bool = True) -> List[int]:
        """Token ids of a conversation in the model's chat format."""
        return self._engine.text.chat_tokens(conversation(messages), generation_prompt)

    def logits(self, ids: Sequence[int]) -> memoryview[float]:
        """float32 logits after each token, shape (len(ids), vocab_size); numpy.asarray shares its memory."""
        self.require_task(TASK_GENERATE)
        with self._engine.turn.lock:
            self._begin_run()
            return self._context.evaluate_all(token_ids(ids))

    # ---- facts -----------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        """Sizes, context, kernels and threads in use; of a graph of tensors its inputs and outputs."""
        return self._engine.info

    def require_task(self, task: str) -> None:
        """Raises RuntimeModelError where the model is for something else ("generate", "embed", "run")."""
        if self.info.task != task:
            own = self.info.task
            raise RuntimeModelError(f"this model {DOES[own]} and {DOES_NOT[task]}: {WAY_OUT[own]}")

    def close(self) -> None:
        """Gives memory and threads back. May be called twice."""
        self._engine.close()

    def __reduce__(self) -> str:
        raise RuntimeModelError("an open model is not copied or pickled: load the bundle in each process")

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    # ---- one run ---------------------------------------------------------------------------------

    def _begin_run(self) -> int:
        with self._engine.turn.lock:
            self._run += 1
            return self._run

    def _start(
        self, ids: List[int], max_tokens: Optional[int], sampling: Sampling, text: TextStream, speculate: bool
    ) -> Iterator[str]:
        """Refuses what cannot run at once, not at the first piece."""
        if not ids:
            raise RuntimeModelError("the prompt is empty: there is nothing to continue")
        if len(ids) > self.info.context:
            raise ContextFullError(
                f"the prompt has {len(ids)} tokens, the context holds {self.info.context}: shorten it, "
                "or compile the model with a longer context"
            )
        most = most_tokens(max_tokens) or self.info.context + 1  # then the context ends the answer
        return self._stream(self._begin_run(), ids, most, sampling, text, speculate)

    def _stream(
        self,
        run: int,
        ids: List[int],
        max_tokens: int,
        sampling: Sampling,
        text: TextStream,
        speculate: bool,
    ) -> Iterator[str]:
        self._require_current(run)
        meter = Meter(len(ids))
        try:
            with self._engine.turn.lock:
                self._require_current(run)
                meter.cached = self._context.reuse(ids)
                self._context.feed(ids[meter.cached :])
                meter.prefilled()
                tokens = [self._engine.sample(sampling)]
            while True:
                for token in tokens:
                    meter.sampled()
                    piece, meter.finish = self._judge(token, text, meter.generated == max_tokens)
                    if piece:
                        yield piece
                        self._require_current(run)
                    if meter.finish:
                        return
                    meter.resumed()
                left = max_tokens - meter.generated
                with self._engine.turn.lock:
                    self._require_current(run)
                    tokens = self._context.generate(tokens[-1], sampling, speculate, left)
        except ContextFullError as error:
            meter.finish = "context"
            held = text.finish()
            if held:
                yield held
            raise ContextFullError(
                f"the context of {self.info.context} tokens is full and the answer cut: begin anew"
            ) from error
        finally:
            if run == self._run:
                self._stats = meter.stats()

    def _judge(self, token: int, text: TextStream, is_last: bool) -> Tuple[str, str]:
        """The text that a token makes certain, and why the answer ends with it ("": it goes on)."""
        if self._engine.text.is_stop(token):
            return text.finish(), "stop"
        piece, reached = "", False
        if not self._engine.text.is_special(token):
            piece, reached = text.feed(self._engine.text.token_bytes(token, not text.begun))
        if reached:
            return piece, "stop"
        return (piece + text.finish(), "length") if is_last else (piece, "")

    def _require_current(self, run: int) -> None:
        if run != self._run:
            raise RuntimeModelError(
                "another run was started on this model: a model answers one prompt at a time"
            )


def _names(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{info.name} ({info})" for info in tensors)
