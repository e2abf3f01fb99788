"""The terminal: one JSON object on stdout, progress only where somebody is looking."""

import json

import numpy as np
import pytest

from services.console import err, print_json, progress


def test_one_json_object_is_printed_arrays_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "Amélie", "values": np.array([1.5, 2.0]), "count": np.int64(3), "nested": [{"a": None}]}
    print_json(value)
    said = capsys.readouterr()
    assert json.loads(said.out) == {"name": "Amélie", "values": [1.5, 2.0], "count": 3, "nested": [{"a": None}]}
    assert said.out.endswith("}\n")
    assert said.err == ""


def test_progress_is_not_drawn_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert not err.is_terminal
    with progress("counting") as advance:
        for step in range(3):
            advance(step, 3, "steps")
    assert capsys.readouterr() == ("", "")
