"""What reviews say of an item: the word that its reviewers share, and the sentence with it."""

from models.p5.data import Review
from models.p5.spoken import Features, Spoken

LAMP, MUG = 0, 1
REVIEWS = [
    Review(0, "", "Very nice! It has a warm glow, and more. The shade is thin."),
    Review(1, "", "Such a Glow. Very nice."),
    Review(2, "", "The lid leaks. Very nice otherwise."),
    Review(3, "", "Very nice: the lid of 2 shuts."),
    Review(4, "", "Very nice and grand."),
]
FEATURES = Features(REVIEWS, [LAMP, LAMP, MUG, MUG, 2])


def test_the_word_that_reviewers_of_an_item_share_is_its_feature() -> None:
    glow = Spoken("glow", ("It", "has", "a", "warm", "glow,", "and", "more."))
    assert FEATURES.of(REVIEWS[0].text, LAMP, is_one=True) == glow
    assert FEATURES.of(REVIEWS[1].text, LAMP, is_one=True) == Spoken("glow", ("Such", "a", "Glow."))


def test_a_word_of_every_review_or_of_three_letters_or_of_one_reviewer_is_none() -> None:
    assert FEATURES.of(REVIEWS[2].text, MUG, is_one=True) is None
    assert FEATURES.of(REVIEWS[4].text, 2, is_one=True) is None


def test_a_review_that_was_not_counted_is_read_by_those_that_were() -> None:
    assert FEATURES.of("All of it leaks. Always.", MUG) == Spoken("leaks", ("All", "of", "it", "leaks."))
    assert FEATURES.of("All of it leaks.", LAMP) is None
    assert FEATURES.of("All of it leaks.", 99) is None


def test_without_reviews_there_are_no_features() -> None:
    assert Features([], []).of("A warm glow.", LAMP) is None
