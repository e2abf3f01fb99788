"""Prompts: what they hold and in which order, and never a token more than the budget."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InvalidInput
from features.events import EventId, ItemId
from features.profile import Claim
from models.language.counting import most_tokens
from models.language.generator import MESSAGE_TOKENS, PROMPT_TOKENS, Role
from models.summaries.entries import Entry
from models.summaries.fencing import parsed
from models.summaries.prompting import Brief, Layout, Prompt, Task, prompt_of, quoted

CLAIMS = (
    Claim("Rates 3.6 on average.", ("rating_habit",), ("e1", "e2")),
    Claim("Likes Drama (4.1).", ("liked_category:Drama",), ("e2", "e3")),
    Claim("Is a founder.", ("founder",), ()),
)
TEMPLATE = PROMPT_TOKENS + 2 * MESSAGE_TOKENS


def entry(number: int, title: str, *categories: str, value: float | None = 4.0) -> Entry:
    return Entry(EventId(f"e{number}"), ItemId(f"i{number}"), title, categories, "view", value, float(number))


ENTRIES = (
    entry(1, "Fargo", "Crime", "Drama"),
    entry(2, "Heat", "Crime", value=2.5),
    entry(3, "Clueless", "Comedy", value=None),
    entry(4, "Untold"),
)
BRIEF = Brief(Task.QUESTION, "Which now?", claims=CLAIMS, entries=ENTRIES, budget=10_000)


def by_words(texts: Sequence[str]) -> list[int]:
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def fences(prompt: Prompt) -> list[list[object]]:
    return parsed(prompt.messages[1].content)


def test_a_prompt_is_summary_past_input_and_what_is_wanted() -> None:
    prompt = prompt_of(BRIEF, by_words)
    assert [message.role for message in prompt.messages] == [Role.SYSTEM, Role.USER]
    assert prompt.messages[1].content == (
        "About the user:\n"
        '<data>\n"Rates 3.6 on average."\n"Likes Drama (4.1)."\n"Is a founder."\n</data>\n'
        "What the user did, as [item, categories, rating or deed], the most relevant last:\n"
        '<data>\n["Untold", "", 4]\n["Clueless", "Comedy", "view"]\n["Heat", "Crime", 2.5]\n'
        '["Fargo", "Crime, Drama", 4]\n</data>\n'
        'Input:\n<data>\n"Which now?"\n</data>\n'
        "Answer the question in the input from the data alone; say so when the data does not tell."
    )


def test_by_aspects_claims_stand_by_kind_of_fact_and_entries_by_their_commonest_category() -> None:
    summary, history, given_input = fences(prompt_of(replace(BRIEF, layout=Layout.STRUCTURED), by_words))
    assert summary == [
        {"rating habit": ["Rates 3.6 on average."]},
        {"liked category": ["Likes Drama (4.1)."]},
        {"other": ["Is a founder."]},
    ]
    assert history == [
        {"other": [["Untold", 4]]},
        {"Comedy": [["Clueless", "view"]]},
        {"Crime": [["Heat", 2.5], ["Fargo", 4]]},
    ]
    assert given_input == ["Which now?"]


def test_choices_are_data_and_a_ranking_needs_no_input() -> None:
    choices = (quoted("Fargo", ("Crime", "Drama")), "Other")
    prompt = prompt_of(Brief(Task.RANKING, None, choices, budget=1000), by_words)
    assert fences(prompt) == [[["Fargo", "Crime, Drama"], "Other"]]
    assert "Input:" not in prompt.messages[1].content


@pytest.mark.parametrize("task", Task)
def test_every_task_says_what_is_wanted_last(task: Task) -> None:
    *_, last = prompt_of(Brief(task, "this", ("a", "b")), by_words).messages[1].content.split("\n")
    assert last[0].isupper()
    assert not last.startswith("<")


def test_parts_tell_their_tokens_and_the_events_that_they_rest_on() -> None:
    prompt = prompt_of(BRIEF, by_words)
    assert {part.name: part.evidence for part in prompt.parts} == {
        "system": (),
        "summary": ("e1", "e2", "e3"),
        "history": ("e1", "e2", "e3", "e4"),
        "input": (),
        "task": (),
        "template": (),
    }
    assert sum(part.tokens for part in prompt.parts) == prompt.tokens
    assert prompt.parts[-1].tokens == TEMPLATE
    alone = prompt_of(Brief(Task.QUESTION, "Which now?"), by_words)
    assert [part.name for part in alone.parts] == ["system", "input", "task", "template"]


def test_what_does_not_fit_goes_entries_from_the_least_relevant_then_claims_from_the_last() -> None:
    whole = prompt_of(BRIEF, by_words).tokens
    least = prompt_of(Brief(Task.QUESTION, "Which now?"), by_words).tokens
    kept = []
    for budget in range(whole, least - 1, -1):
        prompt = prompt_of(replace(BRIEF, budget=budget), by_words)
        assert prompt.tokens <= budget
        evidence = {part.name: part.evidence for part in prompt.parts}
        claims = prompt.messages[1].content.count("Rates 3.6") + prompt.messages[1].content.count("Likes Drama")
        claims += prompt.messages[1].content.count("Is a founder")
        kept.append((claims, len(evidence.get("history", ()))))
        assert evidence.get("history", ()) == ("e1", "e2", "e3", "e4")[: kept[-1][1]]
    assert sorted(kept, reverse=True) == kept
    assert kept[0] == (3, 4)
    assert {(3, 3), (3, 2), (3, 1), (3, 0), (2, 0), (1, 0)} <= set(kept)
    assert kept[-1] == (0, 0)


def test_entries_share_what_is_left_and_long_ones_are_cut() -> None:
    entries = (entry(1, "long " * 40), entry(2, "Heat"))
    whole = prompt_of(replace(BRIEF, entries=entries), by_words).tokens
    cut = prompt_of(replace(BRIEF, entries=entries, budget=whole - 25), by_words)
    short, long = fences(cut)[1]
    assert short == ["Heat", "", 4]
    assert isinstance(long, list)
    assert re.fullmatch(r"(long )+.*…", long[0])


@pytest.mark.parametrize(
    ("brief", "field"),
    [
        (Brief(Task.QUESTION, "why", budget=TEMPLATE + 10), "budget"),
        (Brief(Task.QUESTION, "why " * 200, budget=250), "input"),
        (Brief(Task.RANKING, None, ("a " * 100, "b " * 100), budget=250), "input"),
    ],
)
def test_a_budget_that_does_not_hold_the_input_is_refused(brief: Brief, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        prompt_of(brief, by_words)
    assert refused.value.field == field


texts = st.text(max_size=40)
claims = st.builds(Claim, texts, st.lists(texts, max_size=2).map(tuple), st.lists(texts, max_size=2).map(tuple))
entries_drawn = st.builds(
    entry, st.integers(0, 99), texts, texts, texts, value=st.none() | st.floats(allow_nan=False, allow_infinity=False)
)


@settings(deadline=None)
@given(
    st.builds(
        Brief,
        st.sampled_from(Task),
        texts,
        st.lists(texts, max_size=3).map(tuple),
        st.lists(claims, max_size=4).map(tuple),
        st.lists(entries_drawn, max_size=6).map(tuple),
        st.integers(300, 1500),
        st.sampled_from(Layout),
    ),
    st.sampled_from([most_tokens, by_words]),
)
def test_no_prompt_is_ever_over_its_budget_and_all_its_data_is_read_back(brief: Brief, count: object) -> None:
    assert callable(count)
    try:
        prompt = prompt_of(brief, count)
    except InvalidInput:
        return
    assert prompt == prompt_of(brief, count)
    counted = TEMPLATE + sum(count([message.content for message in prompt.messages]))
    assert prompt.tokens == counted <= brief.budget
    assert [brief.input] in fences(prompt)
    assert not brief.choices or list(brief.choices) in fences(prompt)
