from hypothesis import given
from hypothesis import strategies as st

from models.soft_prompt.layout import Asked, laid_out

TOKENS = st.lists(st.integers(1, 99), min_size=1, max_size=5)


def test_answers_stand_side_by_side_behind_their_question() -> None:
    rows = laid_out([([7, 8], [[1, 2, 3], [4]]), ([9], [[5, 6]])])
    assert rows.tokens_BT.tolist() == [[7, 8, 1, 2], [9, 5, 0, 0]]
    assert rows.parts_BT.tolist() == [[0, 0, 1, 1], [0, 1, -1, -1]]
    assert rows.places_BT.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0]]
    predicted = zip(rows.rows_P[rows.point_A].tolist(), rows.columns_P[rows.point_A].tolist(), strict=True)
    assert list(predicted) == [(0, 1), (0, 2), (0, 3), (0, 1), (1, 0), (1, 1)]
    assert rows.target_A.tolist() == [1, 2, 3, 4, 5, 6]
    assert rows.answer_A.tolist() == [0, 0, 0, 1, 2, 2]


def test_an_answer_sees_what_all_share_and_itself() -> None:
    rows = laid_out([([7], [[1, 2], [3, 4, 5]])])
    sees = rows.sees(1)
    assert sees is not None
    assert sees[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]
    assert rows.positions(1).tolist() == [[0, 1, 2, 2, 3]]


def test_with_one_answer_a_row_nothing_need_be_hidden() -> None:
    assert laid_out([([7], [[1, 2]]), ([7, 8], [[3]])]).sees(2) is None


@given(st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=4)), min_size=1, max_size=5))
def test_every_token_of_every_answer_is_predicted_from_what_stands_before_it(asked: list[Asked]) -> None:
    rows = laid_out(asked)
    wanted = [
        (question, answer, place) for question, answers in asked for answer in answers for place in range(len(answer))
    ]
    assert len(wanted) == len(rows.target_A)
    for (question, answer, place), point, target in zip(wanted, rows.point_A, rows.target_A, strict=True):
        row, column = rows.rows_P[point], rows.columns_P[point]
        part = rows.parts_BT[row, column]
        before = rows.tokens_BT[row, : column + 1]
        is_seen = (rows.parts_BT[row, : column + 1] == 0) | (rows.parts_BT[row, : column + 1] == part)
        if part:
            before = before[is_seen]
        assert before.tolist() == [*question, *answer[:place]]
        assert target == answer[place]
        assert rows.places_BT[row, column] == len(question) + place - 1
