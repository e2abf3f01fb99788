"""From a data set to what a stream adapter is learned from: its events, items in words, and questions about users."""

from collections.abc import Sequence

from features.datasets import Dataset
from models.counts.fitting import texts_of
from models.encoders.data import EncoderData
from models.encoders.reading import encoder_data
from models.soft_prompt.log import Log
from models.soft_prompt.preparing import asked_of
from models.soft_prompt.questions import Question
from models.soft_prompt.tasks import Asking
from models.stream_adapter.context import line
from models.stream_adapter.data import AdaptingData


def adapting_data(dataset: Dataset, log: Log, asking: Asking | None = None, seed: int = 0) -> AdaptingData:
    """What is learned from, with questions about training and validation users; the validation questions are even.

    log: of the data set. Raises InvalidInput when no question can be drawn.
    """
    events = encoder_data(log.past, texts_of(dataset.items, log.vocabulary))
    return of_events(dataset, log, events, *asked_of(log, asking or Asking(), seed))


def of_events(
    dataset: Dataset, log: Log, events: EncoderData, questions: Sequence[Question], validation: Sequence[Question]
) -> AdaptingData:
    """The same of events and questions that are there already."""
    texts = texts_of(dataset.items, log.vocabulary)
    lines_N = [
        line(title or item, categories)
        for item, title, categories in zip(log.vocabulary.items, texts.titles, texts.categories, strict=True)
    ]
    return AdaptingData(events.starts_V, events.items_E, events.values_E, lines_N, questions, validation)
