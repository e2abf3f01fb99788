"""From choosers of a few kinds of items to what an adapter is learned from."""

from toy_choosers import choosers, dataset

from models.soft_prompt.log import Split, log_of
from models.soft_prompt.tasks import Asking
from models.stream_adapter.preparing import adapting_data

HISTORIES, CATEGORIES = choosers(users=60)
DATASET = dataset(HISTORIES, CATEGORIES)
ASKING = Asking(recent=6, last=5, each=2, moments=2, train=0.6, validation=0.4)


def test_events_items_in_words_and_questions_come_together() -> None:
    log = log_of(DATASET, ASKING)
    data = adapting_data(DATASET, log, ASKING)
    for row, item in enumerate(log.vocabulary.items):
        assert data.lines_N[row] == f"The {item} [{', '.join(CATEGORIES[item])}]"
    for user in range(5):
        first, end = data.starts_V[user : user + 2]
        assert [log.vocabulary.items[row] for row in data.items_E[first:end]] == HISTORIES[log.past.users[user]]
    for split, questions in ((Split.TRAIN, data.questions), (Split.VALIDATION, data.validation)):
        assert {log.splits[question.user] for question in questions} == {split}
    assert adapting_data(DATASET, log, ASKING).digest == data.digest
    assert adapting_data(DATASET, log, ASKING, seed=1).digest != data.digest
