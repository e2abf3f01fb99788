"""A frozen language model and what turns users' streams into changes of its weights.

It belongs to one language model, by the sha256 of its weights, and is refused with any other.
Shapes: N users, B rows of a batch, F answers of all rows, L adapted layers, Q queries, D dimensions of a memory, T
tokens.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from features.errors import InvalidInput, WeightsRefused
from models.checkpointing import copied
from models.device import Device
from models.kept import load_parts, save_parts
from models.language.adapters import base_digest
from models.soft_prompt.language import Language
from models.soft_prompt.layout import Asked, Rows, laid_out
from models.soft_prompt.questions import Question, rendered
from models.stream_adapter.absorption import Cores, Merged, WeightAbsorption, swapped
from models.stream_adapter.chunks import ChunkReader
from models.stream_adapter.config import StreamAdapterConfig, configured
from models.stream_adapter.context import NEXT, Context
from models.stream_adapter.mapping import ContextMapping
from models.stream_adapter.state import State

FORMAT: Final = 1
TOKENS: Final = 2048  # of a batch that is scored, with its padding
TITLES: Final = 32  # of a row, that share what is before them
WEIGHTS: Final = "stream-adapter.safetensors"

Updates = Cores | Merged | None  # of each row, of one user for all rows, or none: the frozen model


class StreamAdapter:
    """Safe to use from several threads, of which one at a time has the language model.

    said: how it was trained, JSON values; nothing before it was. base: sha256 of the language model's weights.
    context: makes tokens of events. state_bytes: of the biggest state. lock: of the language model.
    """

    def __init__(self, config: StreamAdapterConfig, language: Language, said: Mapping[str, Any] | None = None) -> None:
        """With weights by torch's seed, still to be trained or loaded.

        Raises InvalidInput for a configuration that does not fit the model or whose states would be too big to keep,
        WeightsRefused for a model without rotary positions.
        """
        self.config, self.language, self.said = config, language, said or {}
        self.base, self.context = language.digest, Context(language.tokens)
        self.reader = ChunkReader(language, config)
        heads, dimensions = self.reader.heads, self.reader.dimensions
        self._shape = (len(self.reader.layers), config.queries, dimensions)
        self.mapping = ContextMapping(len(self.reader.layers), config.queries, heads, dimensions)
        self.absorption = WeightAbsorption(self.reader.linears, config.queries, dimensions, config.rank, config.alpha)
        self.weights = nn.ModuleDict({"mapping": self.mapping, "absorption": self.absorption})
        self.weights.to(language.device.name)
        self.lock = RLock()
        try:
            self.state_bytes = len(self._fullest().to_bytes())
        except InvalidInput as error:
            raise InvalidInput("queries", f"{config.queries} in {self._shape[0]} layers: a {error}") from None

    def fresh(self) -> State:
        """Of a user without events."""
        return State(np.zeros(self._shape, np.float16), np.zeros(0, np.int32))

    @torch.inference_mode()
    def advance(self, states: Sequence[State], tokens: Sequence[Sequence[int]]) -> list[State]:
        """The states after these further tokens of each user (`context.tokens` of the new events), in their order.

        Full chunks alone are read, the n-th of all users together: a step costs its chunk, whatever came before.
        Raises InvalidInput for a state of another shape.
        """
        for state in states:
            self._check(state)
        memories = [state.memory_LQD for state in states]
        chunks = [state.chunks for state in states]
        rest = [
            np.concatenate((state.tail_T, np.array(more, np.int32))) for state, more in zip(states, tokens, strict=True)
        ]
        while ready := [user for user, rest_T in enumerate(rest) if len(rest_T) >= self._needed(chunks[user])]:
            windows = [rest[user][: self._needed(chunks[user])] for user in ready]
            with self.lock:
                reads_NLQD = self.mapping.read(self.reader.read(windows))
            before_NLQD = torch.from_numpy(np.stack([memories[user] for user in ready])).float().to(reads_NLQD.device)
            is_first_N = torch.tensor([not chunks[user] for user in ready], device=reads_NLQD.device)
            after_NLQD = self.mapping.step(before_NLQD, reads_NLQD, is_first_N).half().cpu().numpy()
            for user, memory_LQD in zip(ready, after_NLQD, strict=True):
                # A chunk that the next one is read behind stays in the tail.
                read = self._needed(chunks[user]) - self.config.chunk * self.config.sees_previous
                memories[user], rest[user], chunks[user] = memory_LQD, rest[user][read:], chunks[user] + 1
        return [State(*one) for one in zip(memories, rest, chunks, strict=True)]

    @torch.inference_mode()
    def cores(self, states: Sequence[State]) -> Cores:
        """Of each user. A user of whom no chunk was read has no update. Raises InvalidInput as `advance` does."""
        for state in states:
            self._check(state)
        device = self.language.device.name
        memory_NLQD = torch.from_numpy(np.stack([state.memory_LQD for state in states])).float().to(device)
        return self.cores_of(memory_NLQD, np.array([state.chunks > 0 for state in states]))

    def cores_of(self, memory_NLQD: Tensor, is_adapted_N: NDArray[np.bool_]) -> Cores:
        """The same of memories. Of a control without users all are the same, nobody's first chunk awaited."""
        if self.config.source == "constant":
            return Cores(self.absorption.cores(torch.zeros_like(memory_NLQD)), np.ones_like(is_adapted_N))
        return Cores(self.absorption.cores(memory_NLQD), is_adapted_N)

    def checked(self, cores: Cores) -> NDArray[np.bool_]:
        """is_trusted_N: whether every core is finite and no larger than training users' let expect. A user without an
        update is."""
        bound_LK = self.absorption.bound_LK.cpu().numpy()
        norms_NLK = cores.norms()
        is_within_N = (np.isfinite(norms_NLK) & (norms_NLK <= bound_LK)).all(axis=(1, 2))
        return np.asarray(is_within_N | ~cores.is_adapted_N)

    def merged(self, core: Cores) -> Merged:
        """The adapted maps of one user, to answer many requests with. Raises InvalidInput for several users' cores."""
        if len(core) != 1:
            raise InvalidInput("cores", f"of {len(core)} users; one user's are merged")
        return self.absorption.merged(core)

    def applied(self, updates: Updates) -> AbstractContextManager[None]:
        """While the block runs, the language model answers each row with its user's update: take `lock` first."""
        if updates is None:
            return nullcontext()
        return swapped(updates) if isinstance(updates, Merged) else self.absorption.applied(updates)

    def predicting(self, updates: Updates, asked: Sequence[Asked]) -> tuple[Tensor, Rows]:
        """(states_PW, rows): the last states where something is predicted, and how the rows are laid out."""
        language = self.language
        begin_B = [self._begin(question) for question, _ in asked]
        rows = laid_out(
            [(question[begin:], answers) for begin, (question, answers) in zip(begin_B, asked, strict=True)]
        )
        rows = rows.to(language.device.name)
        words_BTW = language.words(rows)
        with self.lock:
            before = None
            if any(begin_B):
                before = language.known([question[:begin] for begin, (question, _) in zip(begin_B, asked, strict=True)])
            with self.applied(updates):
                states_PW = language.predicting(words_BTW[:, :0], words_BTW, rows, before)
        return states_PW, rows

    def lifts(self, updates: Updates, asked: Sequence[Asked]) -> Tensor:
        """lifts_F of the answers, by which choices are compared (Language.lifts)."""
        with self.lock:
            return self.language.lifts(self.log_likelihoods(updates, asked), asked)

    def log_likelihoods(self, updates: Updates, asked: Sequence[Asked]) -> Tensor:
        """log_chances_F of the answers, the sum over each one's tokens; a question's answers share its row's core."""
        return self.language.told(*self.predicting(updates, asked))

    @torch.inference_mode()
    def scores(self, updates: Updates, asked: Sequence[Asked]) -> list[NDArray[np.float32]]:
        """lifts_C of the answers to each question, in batches of about one length."""
        sizes = [len(question) + sum(map(len, answers)) for question, answers in asked]
        order = sorted(range(len(asked)), key=sizes.__getitem__)
        found: dict[int, NDArray[np.float32]] = {}
        while order:
            count = max(1, sum(sizes[place] * (rank + 1) <= TOKENS for rank, place in enumerate(order)))
            some, order = order[:count], order[count:]
            own = updates.of(some) if isinstance(updates, Cores) else updates
            lifts_F = self.lifts(own, [asked[place] for place in some]).cpu()
            counts = [len(asked[place][1]) for place in some]
            found |= zip(some, (one.numpy() for one in lifts_F.split(counts)), strict=True)
        return [found[place] for place in range(len(asked))]

    def asked(self, question: Question) -> Asked:
        """The tokens of a question and of its choices."""
        return self.language.asked(*rendered(question, self.config.style), 0)

    def reads(self, asked: Asked) -> int:
        """The tokens that are read for a question in training."""
        words, answers = asked
        return len(words) - self._begin(words) + sum(len(answer) - 1 for answer in answers)

    def coming(self, titles: Sequence[str]) -> Asked:
        """The tokens of titles as what the user does next: whole, for one's score is not to hang on the others."""
        asked = [self.language.asked(NEXT, [title], 0) for title in titles]
        return asked[0][0], [answer for _, [answer] in asked]

    def title_scores(self, updates: Updates, titles: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """Of each user's titles, the mean lift of a token, as what the user does next. titles: as `context.line` tells
        items, or what of it is known."""
        cut = [(user, first) for user, some in enumerate(titles) for first in range(0, len(some), TITLES)]
        asked = [self.coming(titles[user][first : first + TITLES]) for user, first in cut]
        own = updates.of([user for user, _ in cut]) if isinstance(updates, Cores) else updates
        found: list[list[NDArray[np.float32]]] = [[np.zeros(0, np.float32)] for _ in titles]
        for (user, _), lifts_C, (_, answers) in zip(cut, self.scores(own, asked), asked, strict=True):
            sizes_C = np.array([len(answer) for answer in answers], np.float32)
            found[user].append(np.asarray(lifts_C / sizes_C, np.float32))
        return [np.concatenate(some) for some in found]

    @torch.inference_mode()
    def generate(self, updates: Updates, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """The likeliest next tokens after each prompt, at most so many, before the first that is no word."""
        device, width, special = self.language.device, max(map(len, prompts)), self.language.tokens.special
        tokens_BT = torch.tensor([[0] * (width - len(one)) + list(one) for one in prompts], device=device.name)
        mask_BT = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device.name)
        begin = width - max(len(one) - self._begin(one) for one in prompts)
        said: list[list[int]] = [[] for _ in prompts]
        is_over = [False] * len(prompts)
        cache: Any = None
        with self.lock, device.autocast():
            if begin:
                cache = self._read(tokens_BT[:, :begin], mask_BT[:, :begin], 0, None).past_key_values
            with self.applied(updates):
                for _ in range(tokens):
                    read = self._read(tokens_BT, mask_BT, begin, cache)
                    cache, begin = read.past_key_values, tokens_BT.shape[1]
                    next_B1 = read.logits[:, -1].argmax(dim=-1, keepdim=True)
                    tokens_BT, mask_BT = (
                        torch.cat(pair, dim=1) for pair in ((tokens_BT, next_B1), (mask_BT, torch.ones_like(next_B1)))
                    )
                    for row, [token] in enumerate(next_B1.tolist()):
                        is_over[row] = is_over[row] or token in special
                        said[row] += [] if is_over[row] else [token]
                    if all(is_over):
                        break
        return said

    @property
    def version(self) -> str:
        """What its states are kept under: of what was learned, of how tokens are cut, and of the language model."""
        made_of = sha256(self.parts()[WEIGHTS] + self.base.encode())
        made_of.update(repr(sorted(asdict(self.config).items())).encode())
        return f"stream-{self.config.queries}x{self.config.rank}@{made_of.hexdigest()[:12]}"

    def parts(self) -> dict[str, bytes]:
        """The files that hold what was learned."""
        return {WEIGHTS: save(copied(self.weights))}

    def manifest(self) -> dict[str, Any]:
        """What it is, what it belongs to, and how it was trained: JSON values."""
        belongs = {"language": self.base, "version": self.version, "state_bytes": self.state_bytes}
        return {"format": FORMAT, "config": asdict(self.config), **self.said, **belongs}

    def save(self, folder: Path) -> None:
        """Writes what was learned, in safetensors and JSON, and what it belongs to; all or nothing."""
        save_parts(folder, self.parts(), self.manifest())

    @classmethod
    def load(cls, folder: Path, language: Path, device: Device | None = None) -> "StreamAdapter":
        """What `save` wrote, with the folder of the language model that it was trained for.

        Raises WeightsRefused when that is another, BundleRefused when it is damaged.
        """
        parts, manifest = load_parts(folder, {"format": FORMAT})
        given, theirs = base_digest(language), manifest.get("language")
        if given != theirs:
            raise WeightsRefused(
                f"{folder}: was trained for another language model (sha256 {str(theirs)[:12]}, this is {given[:12]}); "
                "train it again"
            )
        try:
            adapter = cls(configured(manifest["config"]), Language(language, device), manifest)
            weights = load(parts[WEIGHTS])
            if any(bool(weight.isnan().any()) for weight in weights.values()):
                raise WeightsRefused(f"{folder}: its weights are not finite; train it again, at a lower rate")
            adapter.weights.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError, SafetensorError, InvalidInput) as error:
            raise WeightsRefused(f"{folder}: {error}; train it again") from None
        adapter.weights.requires_grad_(False)
        return adapter

    def _read(self, tokens_BT: Tensor, mask_BT: Tensor, first: int, cache: Any) -> Any:
        """What the model makes of tokens from the first on, behind those in the cache."""
        return self.language.model(
            input_ids=tokens_BT[:, first:],
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(1) - 1).clamp(min=0)[:, first:],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )

    def _begin(self, question: Sequence[int]) -> int:
        """The first token that is read by changed weights."""
        return 0 if self.config.is_whole else max(0, len(question) - len(self.language.cue))

    def _needed(self, chunks: int) -> int:
        """The tokens of the next chunk's window, where so many were read."""
        return self.config.chunk * (1 + (self.config.sees_previous and chunks > 0))

    def _fullest(self) -> State:
        longest = self._needed(1) - 1
        return State(np.zeros(self._shape, np.float16), np.zeros(longest, np.int32))

    def _check(self, state: State) -> None:
        if state.memory_LQD.shape != self._shape or len(state.tail_T) >= self._needed(state.chunks):
            raise InvalidInput(
                "state", f"{state.memory_LQD.shape} with {len(state.tail_T)} tokens; this adapter's are {self._shape}"
            )
