"""What people and services ask of P5, and what it answers: many questions at a time, each in the words of its task.

Ratings and verdicts are compared by the log-probabilities of the words that may answer; next items are found by a beam
search along ids that exist; candidates are scored, all that were given; texts are written word by word.
Shapes: B prompts, T tokens of the longest, W words that may answer, K items asked for.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from features.errors import InvalidInput
from models.p5.asks import FACTS, FROM_FACTS, FROM_MODEL, UNTRAINED, Answer, Ask
from models.p5.beam import beam_search
from models.p5.past import Person
from models.p5.questions import Question, worded
from models.p5.reading import MOST_STARS
from models.p5.replies import ANSWERS, TEXT_TOKENS
from models.p5.scoring import score_candidates
from models.p5.templates import TEMPLATES, Family, Task, Template, family_of
from models.p5.text import generate_text
from models.p5.trained import BEAMS, P5
from models.p5.trie import Trie
from models.p5.words import Word

AT_ONCE: Final = 32  # prompts of one kind in one run of the network
_VERDICTS: Final = tuple(dict.fromkeys(word for words in ANSWERS.values() for word in words))
_STARS_W: Final = np.arange(1.0, 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Prompt:
    """One run of the network for an ask."""

    ask: Ask
    template: Template
    words: tuple[Word, ...]


class Answerer:
    """Answers by one P5; immutable, and safe to use from several threads."""

    def __init__(self, p5: P5) -> None:
        self._p5 = p5
        self._verdicts = Trie.of(_codes([p5.tokenizer.pieces(word) for word in _VERDICTS]))

    def check(self, ask: Ask) -> None:
        """Raises InvalidInput when `answer` would: for a row that is no item, a template of another task, a family
        that was not trained, more than the model can read. Reviews are answered by a model that saw none, and the
        answer says so."""
        try:
            self._p5.tokenizer.prompts([prompt.words for prompt in self._prompts(ask)], self._p5.config.length)
        except InvalidInput as error:
            field = {Family.REVIEW: "text", Family.DIRECT: "items"}.get(ask.family, error.field)
            raise InvalidInput(field if error.field == "prompt" else error.field, error.problem) from None

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """One answer an ask, in their order. Raises InvalidInput as `check`."""
        prompts = [self._prompts(ask) for ask in asks]
        by_task: dict[Task, list[_Prompt]] = defaultdict(list)
        for own in prompts:
            for prompt in own:
                by_task[prompt.template.task].append(prompt)
        said: dict[_Prompt, dict[str, Any]] = {}
        for task, alike in by_task.items():
            for start in range(0, len(alike), AT_ONCE):
                some = alike[start : start + AT_ONCE]
                said |= zip(some, self._said(task, some), strict=True)
        return [
            self._answer(ask, [(prompt, said[prompt]) for prompt in own])
            for ask, own in zip(asks, prompts, strict=True)
        ]

    def _prompts(self, ask: Ask) -> list[_Prompt]:
        """What is to be read and answered for an ask: a prompt a task."""
        if ask.family not in self._p5.families and ask.family is not Family.REVIEW:
            trained = ", ".join(sorted(self._p5.families))
            raise InvalidInput("family", f"this model was not trained for {ask.family}; it answers {trained}")
        questions = self._questions(ask)
        templates = {question.task: _first(question.task) for question in questions}
        if ask.template is not None:
            template = _BY_ID.get(ask.template)
            if template is None or template.task not in templates:
                known = ", ".join(one.id for one in TEMPLATES if one.task in templates)
                raise InvalidInput("template", f"{ask.template!r} was given; for this question it is one of {known}")
            templates[template.task] = template
        return [
            _Prompt(ask, templates[question.task], worded(question, templates[question.task])) for question in questions
        ]

    def _questions(self, ask: Ask) -> list[Question]:
        asker, person = self._p5.asker, self._told(ask.person)
        if ask.family is Family.SEQUENTIAL:
            return [asker.next(person)]
        if ask.family is Family.REVIEW:
            return [asker.headline(ask.text), asker.review_stars(ask.text)]
        if ask.family is Family.DIRECT and ask.candidates:
            return [asker.pick(person, ask.candidates)]
        if ask.item is None:
            raise InvalidInput("item_id", f"a question of {ask.family} is of an item")
        if ask.family is Family.DIRECT:
            return [asker.suits(person, ask.item)]
        if ask.family is Family.RATING:
            return [asker.stars(person, ask.item), asker.likes(person, ask.item)]
        if ask.stars is not None:
            return [asker.explain_rated(person, ask.item, ask.stars)]
        return [asker.explain(person, ask.item)]

    def _told(self, person: Person) -> Person:
        """The user as training told of users: with ratings only if it did, and only those that are stars."""
        if Family.RATING not in self._p5.families or person.stars is None:
            return Person(person.items)
        return Person(person.items, [stars if 0 <= stars <= MOST_STARS else math.nan for stars in person.stars])

    def _said(self, task: Task, prompts: Sequence[_Prompt]) -> list[dict[str, Any]]:
        """What the network answers to prompts of one task, as fields of an Answer."""
        states_BTD, mask_BT = self._p5.read([prompt.words for prompt in prompts])
        if task in ANSWERS:
            return self._verdicts_of(ANSWERS[task], states_BTD, mask_BT)
        if task is Task.NEXT:
            return self._next(prompts, states_BTD, mask_BT)
        if task is Task.PICK:
            return self._picked(prompts, states_BTD, mask_BT)
        texts = generate_text(self._p5.decoder, states_BTD, mask_BT, most=TEXT_TOKENS, allowed=self._p5.text_tokens)
        said = [{"text": self._p5.tokenizer.decode(tokens)} for tokens in texts]
        if family_of(task) is not Family.EXPLANATION or not self._p5.from_facts:
            return said
        return [self._borne_out(prompt.ask, one["text"]) for prompt, one in zip(prompts, said, strict=True)]

    def _borne_out(self, ask: Ask, text: str) -> dict[str, Any]:
        """An explanation as it was written, if the history that was shown bears it out; else one made of that, which is
        empty when nothing of it speaks for the item."""
        asker, tokenizer, item = self._p5.asker, self._p5.tokenizer, ask.item or 0
        reasons = asker.reasons(self._told(ask.person), item, ask.stars)
        true = (tokenizer.decode(tokenizer.encode(words)[0]) for words in asker.true_explanations(item, reasons))
        if text in true:
            return {"text": text, "made_from": FROM_FACTS}
        return {"text": " ".join(asker.explanation(item, reasons)), "made_from": FACTS}

    def _verdicts_of(self, words: Sequence[str], states_BTD: Tensor, mask_BT: Tensor) -> list[dict[str, Any]]:
        rows_W = np.array([_VERDICTS.index(word) for word in words])
        scores = score_candidates(self._p5.decoder, states_BTD, mask_BT, self._verdicts, [rows_W] * len(states_BTD))
        said: list[dict[str, Any]] = []
        for scores_W in scores:
            logs_W = scores_W.astype(np.float64) - np.logaddexp.reduce(scores_W.astype(np.float64))
            best = int(logs_W.argmax())
            if len(words) == len(_STARS_W):
                said.append({"stars": float(np.exp(logs_W) @ _STARS_W)})
            else:
                said.append({"text": words[best], "log_probability": float(logs_W[best])})
        return said

    def _next(self, prompts: Sequence[_Prompt], states_BTD: Tensor, mask_BT: Tensor) -> list[dict[str, Any]]:
        seen = [np.array([*prompt.ask.person.items, *prompt.ask.seen], np.int64) for prompt in prompts]
        most = max(prompt.ask.k for prompt in prompts)
        found = beam_search(self._p5.decoder, states_BTD, mask_BT, self._p5.trie, beams=BEAMS, k=most, seen=seen)
        return [
            {"items": _listed(rows_K[rows_K >= 0][: prompt.ask.k], logs_K)}
            for prompt, rows_K, logs_K in zip(prompts, found.rows_BK, found.log_probabilities_BK, strict=True)
        ]

    def _picked(self, prompts: Sequence[_Prompt], states_BTD: Tensor, mask_BT: Tensor) -> list[dict[str, Any]]:
        given = [np.array(list(dict.fromkeys(prompt.ask.candidates)), np.int64) for prompt in prompts]
        scores = score_candidates(self._p5.decoder, states_BTD, mask_BT, self._p5.trie, given)
        said = []
        for rows, logs in zip(given, scores, strict=True):
            order = np.argsort(-logs, kind="stable")
            said.append({"items": _listed(rows[order], logs[order])})
        return said

    def _answer(self, ask: Ask, prompts: Sequence[tuple[_Prompt, dict[str, Any]]]) -> Answer:
        """An ask's answer, of all its prompts; it is named by the first, or by the one of the template asked for."""
        said: dict[str, Any] = {}
        for _, fields in prompts:
            said |= fields
        named = next((one.template for one, _ in prompts if one.template.id == ask.template), prompts[0][0].template)
        made_from = FROM_MODEL
        if ask.family not in self._p5.families:
            made_from = UNTRAINED
        return Answer(ask.family, named.task, named.id, **{"made_from": made_from, **said})


def _first(task: Task) -> Template:
    return next(template for template in TEMPLATES if template.task is task and not template.held_out)


def _listed(rows: NDArray[np.int64], logs: NDArray[np.float32]) -> tuple[tuple[int, float], ...]:
    return tuple(zip(rows.tolist(), logs.tolist(), strict=False))


def _codes(tokens: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """The words' tokens as a trie takes them."""
    codes = np.full((len(tokens), max(map(len, tokens))), -1, np.int32)
    for row, own in enumerate(tokens):
        codes[row, : len(own)] = own
    return codes


_BY_ID: Final = {template.id: template for template in TEMPLATES}
