"""A frozen language model that reads soft prompts: any causal model of transformers, in a local folder.

It is transformers' own module, for the gradient of what it says must reach the soft prompt through all its layers.
Shapes: B rows, T tokens, Q of a question, K vectors of a soft prompt, W dimensions of an embedding, V tokens of the
vocabulary; P, A, F as in models/soft_prompt/layout.py.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, DynamicCache

from features.errors import InvalidInput, WeightsRefused
from models.device import Device, best_device
from models.language.adapters import base_digest
from models.language.plain_tokens import PlainTokens
from models.soft_prompt.before import Kept
from models.soft_prompt.layout import Asked, Before, Rows, laid_out
from models.soft_prompt.questions import CUE

TOGETHER: Final = 64  # answers whose words are weighed at once
PRIORS: Final = 100_000  # answers whose weights are kept


class Language:
    """digest: sha256 of its weights. width: of its embeddings; norm: their mean length. reads: the most tokens of a
    row. cue: the tokens at a question's end. updates: what can be trained of it, nothing without a LoRA."""

    def __init__(
        self, folder: Path, device: Device | None = None, *, rank: int = 0, seed: int = 0, lora: Path | None = None
    ) -> None:
        """rank: of a new LoRA to be trained beside the weights, 0 for none. lora: the folder of a trained one that is
        added to the weights. Raises WeightsRefused."""
        self.device = device or best_device()
        self.tokens = PlainTokens(folder)
        self.digest = base_digest(folder)
        self.whole: Any = None  # with the LoRA beside it
        self._folder, self._is_tuned = folder, lora is not None
        self._priors: dict[tuple[int, ...], float] = {}
        if rank:
            from models.language.tuning import adapted  # here, for PEFT is needed for this alone

            self.whole = adapted(folder, rank, seed).to(self.device.name).eval()
            self.model = self.whole.get_base_model()
        else:
            self.model = _frozen(folder, lora, self.device)
        self.updates = nn.ParameterList(one for one in self.model.parameters() if one.requires_grad)
        embeddings_VW = self.model.get_input_embeddings().weight
        self.width = int(embeddings_VW.shape[1])
        self.norm = float(embeddings_VW.float().norm(dim=1).mean())
        self.reads = int(self.model.config.max_position_embeddings)
        self.cue = self.tokens.plain(CUE)
        self._kept = Kept(lambda questions: self.read(*self.embedded(questions)))

    def asked(self, prompt: str, answers: Sequence[str], tokens: int) -> Asked:
        """Their tokens, with the cue behind the prompt; of each answer as many as tell it from the others, for the rest
        follows from them. tokens: vectors of a soft prompt that come between.

        Raises InvalidInput when there is nothing to read, or more than the model reads.
        """
        question = self.tokens.plain(prompt)
        found = [self.tokens.plain(answer) for answer in answers]
        longest = tokens + len(question) + len(self.cue) + max(map(len, found), default=0)
        if not question or not all(found) or longest > self.reads:
            raise InvalidInput(
                "question", f"of {longest} tokens with its longest answer; the model reads 1 to {self.reads}"
            )
        return [*question, *self.cue], told_apart(found)

    def embedded(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """(words_BTW, is_word_BT): the embeddings of texts in tokens, padded behind."""
        tokens = [torch.tensor(text, dtype=torch.int64) for text in texts]
        tokens_BT = pad_sequence(tokens, batch_first=True).to(self.device.name)
        counts_B = torch.tensor([len(text) for text in texts], device=tokens_BT.device)
        words_BTW: Tensor = self.model.get_input_embeddings()(tokens_BT)
        return words_BTW, torch.arange(tokens_BT.shape[1], device=tokens_BT.device) < counts_B[:, None]

    def read(self, words_BQW: Tensor, is_word_BQ: Tensor) -> Before:
        """Questions by their embeddings, padded behind."""
        with self.device.autocast():
            read = self.model.get_decoder()(inputs_embeds=words_BQW, use_cache=True).past_key_values
        return Before([(layer.keys, layer.values) for layer in read.layers], is_word_BQ.sum(dim=1))

    def known(self, questions: Sequence[Sequence[int]]) -> Before:
        """Questions by their tokens, of which those that came before are not read again."""
        return self.read(*self.embedded(questions)) if len(self.updates) else self._kept.before(questions)

    def forget(self) -> None:
        """Reads the next questions as if nobody had asked them before."""
        self._kept.clear()

    def words(self, rows: Rows) -> Tensor:
        """words_BTW: the embeddings of what is read."""
        words_BTW: Tensor = self.model.get_input_embeddings()(rows.tokens_BT)
        return words_BTW

    def log_likelihoods(self, soft_BKW: Tensor, words_BTW: Tensor, rows: Rows, before: Before | None = None) -> Tensor:
        """log_chances_F of each answer, behind what is before, its soft prompt and its words: the sum over its tokens.

        The sum, and not the mean of a token: it is the logarithm of the answer's probability, which training raises; a
        mean prefers long titles, whose later tokens follow from the first.
        """
        return self.told(self.predicting(soft_BKW, words_BTW, rows, before), rows)

    def predicting(self, soft_BKW: Tensor, words_BTW: Tensor, rows: Rows, before: Before | None = None) -> Tensor:
        """states_PW: the last ones at the places after which something is predicted."""
        tokens = soft_BKW.shape[1]
        inputs_BSW = torch.cat((soft_BKW.to(words_BTW.dtype), words_BTW), dim=1)
        with self.device.autocast():
            states_BSW: Tensor = self.model.get_decoder()(
                inputs_embeds=inputs_BSW,
                attention_mask=rows.sees(tokens, before),
                position_ids=rows.positions(tokens, before),
                past_key_values=None if before is None else DynamicCache(before.layers),
                use_cache=before is not None,
            ).last_hidden_state
        return states_BSW[rows.rows_P, tokens + rows.columns_P]

    def logits(self, states_PW: Tensor) -> Tensor:
        """logits_PV in float32."""
        with self.device.autocast():
            logits_PV: Tensor = self.model.get_output_embeddings()(states_PW).float()
        return logits_PV

    def told(self, states_PW: Tensor, rows: Rows) -> Tensor:
        """log_chances_F of each answer by those states."""
        logits_PV = self.logits(states_PW)
        log_chances_A = logits_PV[rows.point_A, rows.target_A] - logits_PV.logsumexp(dim=-1)[rows.point_A]
        return log_chances_A.new_zeros(rows.n_answers).index_add(0, rows.answer_A, log_chances_A)

    def lifts(self, log_chances_F: Tensor, asked: Sequence[Asked]) -> Tensor:
        """lifts_F: how much likelier each answer is, in its logarithm, than behind the cue alone. Choices are compared
        by it: by likelihood alone short and common words win, whatever is asked (Holtzman et al., "Surface form
        competition", EMNLP 2021, domain conditional PMI)."""
        return log_chances_F - self.priors([one for _, answers in asked for one in answers])

    @torch.no_grad()
    def priors(self, answers: Sequence[Sequence[int]]) -> Tensor:
        """log_chances_F of answers behind the cue alone, by the weights without any update: what their words weigh,
        whatever is asked."""
        asked = [tuple(answer) for answer in answers]
        found = {one: self._priors[one] for one in asked if one in self._priors}
        new = [one for one in dict.fromkeys(asked) if one not in found]
        for first in range(0, len(new), TOGETHER):
            some = new[first : first + TOGETHER]
            found |= zip(some, self._plainly(laid_out([(self.cue, [one]) for one in some])), strict=True)
        self._priors |= found
        for one in [*self._priors][: max(0, len(self._priors) - PRIORS)]:  # the oldest; users may ask what they like
            del self._priors[one]
        return torch.tensor([found[one] for one in asked], device=self.device.name)

    def _plainly(self, rows: Rows) -> list[float]:
        rows = rows.to(self.device.name)
        plain = self._plain
        words_BTW = plain.words(rows)
        with nullcontext() if self.whole is None else self.whole.disable_adapter():
            found: list[float] = plain.log_likelihoods(words_BTW[:, :0], words_BTW, rows).tolist()
        return found

    @cached_property
    def _plain(self) -> "Language":
        """The weights without a LoRA that was added to them and is no longer apart."""
        return Language(self._folder, self.device) if self._is_tuned else self

    def parts(self) -> dict[str, bytes]:
        """The files of the LoRA, none where there is none."""
        if self.whole is None:
            return {}
        from models.language.tuning import save_updates

        with TemporaryDirectory() as name:
            save_updates(self.whole, Path(name))
            return {path.name: path.read_bytes() for path in sorted(Path(name).iterdir())}


def told_apart(answers: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Of each answer the first tokens, as many as none of the others begins with; all where there is no such number, as
    of an answer alone."""
    if len(answers) < 2:
        return list(answers)
    counts: Counter[tuple[int, ...]] = Counter()
    for answer in answers:
        counts.update(tuple(answer[:size]) for size in range(1, len(answer) + 1))
    return [
        next((answer[:size] for size in range(1, len(answer) + 1) if counts[tuple(answer[:size])] == 1), answer)
        for answer in answers
    ]


def _frozen(folder: Path, lora: Path | None, device: Device) -> Any:
    """The weights in the precision of the device's products, and no gradient for any."""
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32 if lora else device.dtype,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsRefused(f"{folder}: {error}; take a causal language model's folder, in safetensors") from None
    if lora is not None:
        from models.language.lora import merged

        model.load_state_dict(merged(model.state_dict(), lora))
        model = model.to(device.dtype)
    return model.to(device.name).eval().requires_grad_(False)
