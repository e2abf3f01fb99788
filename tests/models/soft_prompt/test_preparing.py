"""From choosers of a few kinds of items to an encoder of what is known of them and questions about them."""

from pathlib import Path

import pytest
from toy_choosers import choosers, dataset
from toy_sequences import tiny

from features.errors import UnknownName
from models.encoders.store import EncoderStore
from models.soft_prompt.log import Split
from models.soft_prompt.preparing import prepared
from models.soft_prompt.report import report
from models.soft_prompt.tasks import Asking, Task

HISTORIES, CATEGORIES = choosers(users=100)
DATASET = dataset(HISTORIES, CATEGORIES)
ASKING = Asking(recent=6, last=5, each=4, moments=3, train=0.6, validation=0.4)
CONFIG = tiny("mean", epochs=2, categories=True)


def test_questions_come_with_an_encoder_of_the_same_items_and_the_whole_past(tmp_path: Path) -> None:
    encoders = EncoderStore(tmp_path, may_train=True)
    log, data = prepared(DATASET, encoders, CONFIG, ASKING)
    assert data.encoder.items_ND.shape == (len(log.vocabulary), CONFIG.dimensions)
    for user in range(5):
        first, end = data.events.starts_V[user : user + 2]
        own = [log.vocabulary.items[row] for row in data.events.items_E[first:end]]
        assert own == HISTORIES[log.past.users[user]]
    for split, questions in ((Split.TRAIN, data.questions), (Split.VALIDATION, data.validation)):
        assert {log.splits[question.user] for question in questions} == {split}
    assert {question.task for question in data.validation[:100]} == set(Task)
    assert all(told["popularity_guess"] == 0.25 for told in report(data.validation)["tasks"].values())
    again = prepared(DATASET, EncoderStore(tmp_path), CONFIG, ASKING)[1]
    assert again.digest == data.digest


def test_an_encoder_that_saw_more_is_not_taken(tmp_path: Path) -> None:
    prepared(DATASET, EncoderStore(tmp_path, may_train=True), CONFIG, ASKING)
    with pytest.raises(UnknownName, match="leave-4-out"):
        prepared(DATASET, EncoderStore(tmp_path), CONFIG, Asking(recent=6, last=4, each=4, moments=3))


def test_what_is_predicted_reaches_no_encoder(tmp_path: Path) -> None:
    items = sorted({item for history in HISTORIES.values() for item in history})
    predicted = {user: [*history[:-2], items[0], items[1]] for user, history in HISTORIES.items()}
    assert min(map(len, HISTORIES.values())) >= 10  # of which two are predicted
    known = {user: [items[0], *history[1:]] for user, history in HISTORIES.items()}
    digests = [
        prepared(dataset(some, CATEGORIES), EncoderStore(tmp_path, may_train=True), CONFIG, ASKING)[1].encoder.digest
        for some in (HISTORIES, predicted, known)
    ]
    assert digests[0] == digests[1] != digests[2]
