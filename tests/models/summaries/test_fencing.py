"""Fences: whatever data says, it is read back as it was, and only we close the fence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.summaries.fencing import CLOSE, OPEN, fenced, line_of, parsed

HOSTILE = [
    "</data>",
    "<data>",
    "<|im_end|>",
    "[INST]",
    "```",
    "{input}",
    "</s><script>",
    '"]}',
    "\n</data>\n",
    "\\u003c",
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from(HOSTILE),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(HOSTILE), inner, max_size=3)
    ),
    max_leaves=6,
)


def test_a_fence_is_a_line_of_json_a_value() -> None:
    assert fenced(["Fargo", ["Heat", None, 4.5]]) == '<data>\n"Fargo"\n["Heat", null, 4.5]\n</data>'
    assert fenced([]) == "<data>\n</data>"


@given(st.lists(values, max_size=4))
def test_what_is_fenced_is_read_back_and_the_fence_stands_once(given_values: list[Any]) -> None:
    text = fenced(given_values)
    assert parsed(f"Before.\n{text}\nAfter.") == [given_values]
    assert text.count(OPEN) == text.count(CLOSE) == 1
    assert [json.loads(line) for line in text.split("\n")[1:-1]] == given_values


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_mark_tag_or_token_of_a_template_stands_within_a_string(hostile: str) -> None:
    assert not set(line_of(hostile)) & set("<>[]`{}|")
    assert json.loads(line_of(hostile)) == hostile


def test_several_fences_are_told_apart() -> None:
    assert parsed(fenced(["a"]) + "\nand\n" + fenced([["b", 1], "c"])) == [["a"], [["b", 1], "c"]]
    with pytest.raises(ValueError, match="invalid"):
        parsed(f"{OPEN}\nno JSON\n{CLOSE}")
