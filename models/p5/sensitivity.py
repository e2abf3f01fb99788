"""How much of what a model says is due to the wording of the question: the prompt-sensitivity index POSIX.

Chatterjee et al., "POSIX: A prompt sensitivity index for large language models" (EMNLP Findings 2024): for wordings i
and j of one question, and y_i what is answered to i,

    |log P(y_i | i) - log P(y_i | j)| / length of y_i in tokens

averaged over the ordered pairs of different wordings, and over questions. 0: the wording changes nothing.
Shapes: T templates, X exams, B prompts, A tokens of an answer.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.p5.exams import Exam
from models.p5.questions import worded
from models.p5.replies import Reply, log_probabilities, padded, read
from models.p5.templates import Template
from models.p5.trained import P5


def changes(p5: P5, exams: Sequence[Exam], replies: Mapping[Template, Sequence[Reply]]) -> NDArray[np.float64]:
    """changes_TT: at [i, j] the mean of the quotient above. replies: to the exams, by template."""
    answers_TX = list(replies.values())
    logs_TTX = np.zeros((len(answers_TX), len(answers_TX), len(exams)))
    for asked, template in enumerate(replies):
        for places, states_BTD, mask_BT in read(p5, [worded(one.question, template) for one in exams]):
            tokens = [[answers_X[place].tokens for answers_X in answers_TX] for place in places]
            answers_BTA = padded(tokens, states_BTD.device)
            logs_BT = log_probabilities(p5.decoder, states_BTD, mask_BT, answers_BTA)
            logs_TTX[:, asked, places] = logs_BT.cpu().numpy().T
    lengths_TX = np.array([[len(one.tokens) for one in answers_X] for answers_X in answers_TX])
    own_TX = np.einsum("iix->ix", logs_TTX)
    return np.asarray((np.abs(own_TX[:, None] - logs_TTX) / lengths_TX[:, None]).mean(axis=2), np.float64)


def over_pairs(changes_TT: NDArray[np.float64], templates: Sequence[Template]) -> dict[str, float | None]:
    """{seen: the mean over pairs of seen templates, held_out: over those with one that is held out}; None for none."""
    is_held_out_T = np.array([one.held_out for one in templates])
    is_pair_TT = ~np.eye(len(templates), dtype=bool)
    is_other_TT = is_held_out_T[:, None] | is_held_out_T
    return {
        name: float(changes_TT[chosen_TT].mean()) if chosen_TT.any() else None
        for name, chosen_TT in (("seen", is_pair_TT & ~is_other_TT), ("held_out", is_pair_TT & is_other_TT))
    }
