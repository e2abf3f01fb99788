"""A witness who knows a user's events and nothing else, and says which sentences about the user they do not bear out.

It shares no code with the product: what is true is worked out here again, in plain Python, from the events, for each
sentence as it stands. A sentence that it does not understand is not borne out.
An event is (event id, item id, value or None, epoch seconds).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

Told = tuple[str, str, float | None, float]
About = Mapping[str, tuple[str, Sequence[str]]]  # item id: title, categories

MIDDLE, HIGH = 3.0, 4.0  # of one to five stars
HALF_A_TENTH, HALF_TEN_PERCENT = 0.05 + 1e-9, 0.05 + 1e-9
_DAY = 86400


class Witness:
    """One user's. Items that would be called the same by title and year are one; what was said of it last counts."""

    def __init__(self, events: Iterable[Told], about: About) -> None:
        self.events = sorted(events, key=lambda event: (event[3], event[0]))
        titles = {item: about.get(item, ("", ()))[0] or item for _, item, _, _ in self.events}
        with_year = {item: _in_front(title) for item, title in titles.items()}
        without = {item: re.sub(r" *\(\d{4}\)( *\(V\))?$", "", title) for item, title in titles.items()}
        short = {item: _clipped(_in_front(title)) for item, title in without.items()}
        items_of_short: dict[str, set[str]] = {}
        for item, name in short.items():
            items_of_short.setdefault(name, set()).add(item)
        name = {item: short[item] if len(items_of_short[short[item]]) == 1 else with_year[item] for item in titles}
        newest: dict[str, Told] = {}
        for event in self.events:
            newest.pop(name[event[1]], None)
            newest[name[event[1]]] = event  # in the order of the newest event
        self.newest = newest
        self.categories = {key: about.get(event[1], ("", ()))[1] for key, event in newest.items()}
        self.years = {
            key: int(found.group(1))
            for key, event in newest.items()
            if (found := re.search(r"\((\d{4})\)(?: *\(V\))?$", titles[event[1]]))
        }
        self.ratings = {key: event[2] for key, event in newest.items() if event[2] is not None}
        self.is_rater = len(self.ratings) >= 5
        self.mean = fmean(self.ratings.values()) if self.ratings else 0.0
        self.times = Counter(name[item] for _, item, _, _ in self.events)
        self.with_any = [key for key in newest if self.categories[key]]
        self.understood = [(re.compile(pattern), is_true) for pattern, is_true in self._understood()]
        self.counts = Counter(one for key in self.with_any for one in set(self.categories[key]))

    def unsupported(self, text: str) -> list[str]:
        """The sentences of the text that the events do not bear out."""
        names = sorted((name for name in {*self.newest, *self.counts} if name in text), key=len, reverse=True)
        pattern = "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in names)
        found: list[str] = []

        def noted(match: re.Match[str]) -> str:
            found.append(match.group())
            return f"\x01{len(found) - 1}\x02"

        masked = re.sub(pattern, noted, text) if names else text
        bad = []
        for sentence in filter(None, re.split(r"(?<=\.) ", masked)):
            plain = re.sub(r"\x01(\d+)\x02", lambda match: found[int(match.group(1))], sentence)
            if not self._is_true(sentence, found):
                bad.append(plain)
        return bad

    def _is_true(self, sentence: str, found: Sequence[str]) -> bool:
        """Whether each of its clauses is: these end at "but" and "while", and at "and" where no name follows."""
        if not sentence.endswith("."):
            return False
        parts = re.split(r",? (?:but|while|whereas) |(?:,? and|;) (?!\x01)", sentence[:-1])
        return all(self._is_true_clause(part, found) for part in parts)

    def _is_true_clause(self, clause: str, found: Sequence[str]) -> bool:
        named = [
            (found[int(place)], number.removeprefix("about ") or None)
            for place, number in re.findall(r"\x01(\d+)\x02(?: \(([^()]*)\))?", clause)
        ]
        said = re.sub(r"\x01\d+\x02(?: \([^()]*\))?", "*", clause).lower()
        said = re.sub(r"\*(?:(?:, and|,|;| and)( also)? \*)*", "*", said)
        said = re.sub(r"^(?:they|the user|this user)(?: also)? |^also ", "", said)
        for pattern, is_true in self.understood:
            if match := pattern.fullmatch(said):
                return is_true(named, *match.groups())
        return False

    def _understood(self) -> list[tuple[str, Callable[..., bool]]]:
        """Every form of a clause with what makes it true; * stands for the names."""
        number, count, share = r"(-?\d+(?:\.\d+)?)", r"(\d+)\+", r"(\d+)%"
        be, have, spread = (
            "(?:(?:is|are|was|were) )?",
            "(?:has |have )?",
            rf"(?:is )?mostly (?:from )?{number} to {number}",
        )
        mean = (
            rf"(?:(?:rates |with )?(?:a |an )?(?:(?:their )?(?:average|mean)(?: rating)?(?: is| of)? )?{number}"
            r"(?: on average)?)"
        )
        high = rf"(?:rates high|(?:is |are )?(?:a )?generous(?: rater)?)(?::|,) {mean}, {spread}"
        low = rf"(?:rates low|(?:is |are )?(?:a )?strict(?: rater)?)(?::|,) {mean}, {spread}"
        mostly = r"(?:(?:what they choose is )?(?:mostly|mainly) \*)"
        when = r"(?:mostly )?(?:active )?(?:in|at) (?:the )?(night|morning|afternoon|evening|weekend) \(utc\)"
        return [
            (rf"{have}{count} (ratings|events)(?: in all| so far)?", self._counted),
            (rf"{have}{count} (ratings|events) (?:over|in) {count} days(?: so far)?", self._counted),
            (rf"{have}{count} (ratings|events),?(?: all)? within a day", self._in_a_day),
            (rf"{mean}, {spread}", self._rates),
            (rf"(?:lately rates|of late ratings average|their ratings lately average) {number}", self._rates_lately),
            (rf"lately {number} on average", self._rates_lately),
            (high, lambda named, *given: self.mean >= HIGH - 1e-9 and self._rates(named, *given)),
            (low, lambda named, *given: self.mean <= MIDDLE + 1e-9 and self._rates(named, *given)),
            (r"often (?:chooses?|goes for|go for) \*", self._often),
            (rf"{be}(?:(?:like|love|enjoy)(?:s|d|ed)?|fond of|keen on) \*|rates? \* high(?:ly)?", self._likes),
            (
                rf"(?:their )?favourites?(?: is| are|:) \*|(?:loved|rated high):? \*|\* {be}(?:liked|loved|enjoyed)",
                self._likes,
            ),
            (r"dislike(?:s|d)? \*|rates? \* (?:low|poorly)|rated low:? \*", self._dislikes),
            (rf"{be}(?:let down|disappointed) by \*|\* {be}disliked", self._dislikes),
            (rf"{be}less (?:fond of|keen on) \*|rates? \* lower", self._less),
            (r"(?:comes?|came) back to \*|return(?:s|ed)? to \*", self._came_back),
            (r"(?:recent|recently|newest first|most recently): \*", self._recent),
            (r"(?:their latest|the newest)(?: is| are) \*", self._recent),
            (
                r"lately more \*|(?:of late, )?more \*(?: of late)?|(?:has|have|is|are) turn(?:ed|ing) to \* lately",
                self._rose,
            ),
            (r"lately less \*|(?:of late, )?less \*(?: of late)?", self._fell),
            (r"(?:has|have|is|are) turn(?:ed|ing) away from \* lately", self._fell),
            (mostly, self._mostly),
            (rf"(?:their |a )?narrow taste(?:: |, | is ){mostly}", self._narrow),
            (rf"(?:their |a )?broad taste(?:: |, | is ){mostly}", self._broad),
            (rf"(?:about )?{share}(?: are)? from the (\d{{4}})s", self._era),
            (r"mostly from the (\d{4})s", lambda named, decade: not named and self._share_from(decade) > 0.5),
            (r"mostly from the (\d{4})s \((\d+)%\)", lambda named, decade, part: self._era(named, part, decade)),
            (rf"{be}{when}", self._active),
        ]

    def _counted(self, named: object, least: str, what: str, days: str = "") -> bool:
        count = len(self.events) if what == "events" else sum(event[2] is not None for event in self.events)
        span = (self.events[-1][3] - self.events[0][3]) / _DAY
        is_count = int(least) <= count < 2 * int(least)
        return not named and is_count and (not days or int(days) <= span < 2 * int(days))

    def _in_a_day(self, named: object, least: str, what: str) -> bool:
        return self._counted(named, least, what) and self.events[-1][3] - self.events[0][3] < _DAY

    def _rates(self, named: object, mean: str, least: str, most: str) -> bool:
        inside = sum(float(least) <= value <= float(most) for value in self.ratings.values())
        is_mostly = self.is_rater and inside >= 0.6 * len(self.ratings)
        return not named and is_mostly and abs(self.mean - float(mean)) <= HALF_A_TENTH

    def _rates_lately(self, named: object, mean: str) -> bool:
        is_enough = len(self.ratings) >= 10
        return not named and is_enough and abs(fmean([*self.ratings.values()][-5:]) - float(mean)) <= HALF_A_TENTH

    def _judged(self, named: Sequence[tuple[str, str | None]], is_right: Callable[[float, bool], bool]) -> bool:
        """Whether every name has a rating, or a category of a few items a mean of them, that is right, and that its
        number tells. is_right: of the rating or mean, and whether it is of an item."""
        for name, number in named:
            rated = [self.ratings[key] for key in self.ratings if name in self.categories[key]]
            means = [(self.ratings[name], True)] if name in self.ratings else []
            means += [(fmean(rated), False)] if len(rated) >= 3 else []
            right = [mean for mean, is_item in means if is_right(mean, is_item)]
            if not any(number is None or abs(mean - float(number)) <= HALF_A_TENTH for mean in right):
                return False
        return bool(named) and self.is_rater

    def _likes(self, named: Sequence[tuple[str, str | None]]) -> bool:
        own = self.mean
        return self._judged(
            named, lambda mean, is_item: mean > MIDDLE and (mean >= own - 1e-6 if is_item else mean > own)
        )

    def _dislikes(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return self._judged(named, lambda mean, _: mean < MIDDLE and mean < self.mean)

    def _less(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return self._judged(named, lambda mean, is_item: mean < self.mean and not is_item)

    def _came_back(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return bool(named) and all(
            self.times[name] >= 2 and (number is None or self.times[name] >= int(number.removesuffix("+ times")))
            for name, number in named
        )

    def _recent(self, named: Sequence[tuple[str, str | None]]) -> bool:
        newest_first = list(self.newest)[::-1]
        return bool(named) and [(name, None) for name in newest_first[: len(named)]] == list(named)

    def _share(self, name: str) -> float:
        return self.counts[name] / len(self.with_any) if self.with_any else 0.0

    def _is_about(self, share: float, percent: str) -> bool:
        given = int(percent.removesuffix("%")) / 100
        return (share == 1 if given == 1 else abs(share - given) <= HALF_TEN_PERCENT) or (given == 0.9 < share < 1)

    def _often(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return bool(named) and all(
            self._share(name) >= 0.2 and (number is None or self._is_about(self._share(name), number))
            for name, number in named
        )

    def _mostly(self, named: Sequence[tuple[str, str | None]]) -> bool:
        names = [name for name, _ in named]
        in_order = all(self.counts[one] >= self.counts[other] for one, other in pairwise(names))
        rest = max((self.counts[name] for name in self.counts if name not in names), default=0)
        return (
            bool(named)
            and in_order
            and self.counts[names[-1]] >= max(rest, 1)
            and all(number is None or self._is_about(self._share(name), number) for name, number in named)
        )

    def _narrow(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return self._mostly(named) and self._share(named[0][0]) >= 2 / 3

    def _broad(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return self._mostly(named) and self._share(named[0][0]) < 1 / 3

    def _rise(self, name: str) -> float:
        """How much greater the category's share of the newest fifth is, of the newest ten at least."""
        new = max(10, len(self.with_any) // 5)
        old = len(self.with_any) - new
        if old <= 0:
            return 0.0
        has = [name in self.categories[key] for key in self.with_any]
        return sum(has[old:]) / new - sum(has[:old]) / old

    def _rose(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return bool(named) and all(self._rise(name) > 0.1 and number is None for name, number in named)

    def _fell(self, named: Sequence[tuple[str, str | None]]) -> bool:
        return bool(named) and all(self._rise(name) < -0.1 and number is None for name, number in named)

    def _share_from(self, decade: str) -> float:
        inside = sum(int(decade) <= year < int(decade) + 10 for year in self.years.values())
        return inside / len(self.years) if self.years else 0.0

    def _era(self, named: object, percent: str, decade: str) -> bool:
        share = self._share_from(decade)
        return not named and share > 0.5 and self._is_about(share, percent)

    def _active(self, named: object, when: str) -> bool:
        parts = ("night", "morning", "afternoon", "evening")
        if when == "weekend":
            days = {int(at // _DAY) for *_, at in self.events}
            is_then = [(day + 4) % 7 in (0, 6) for day in days]  # day 0 was a Thursday, and 0 is Sunday here
        else:
            quarters = {(int(at // _DAY), parts[int(at % _DAY // (_DAY / 4))]) for *_, at in self.events}
            is_then = [part == when for _, part in quarters]
        return not named and len(is_then) >= 5 and sum(is_then) > len(is_then) / 2


def _in_front(title: str) -> str:
    """With the article that stands last in front."""
    title = title.strip()
    for article in ("The", "A", "An", "La", "Le", "Les", "L'", "El", "Los", "Las", "Il", "I", "Der", "Die", "Das"):
        marker = f", {article}"
        head, found, tail = title.rpartition(marker)
        if found and (not tail or (tail.startswith(" (") and tail.endswith(")"))):
            title = f"{article}{head}{tail}" if article.endswith("'") else f"{article} {head}{tail}"
            break
    return title.rstrip(". ")


def _clipped(name: str) -> str:
    """As many of the first words as sixty characters hold."""
    while len(name) > 60 and " " in name:
        name = name[: name.rindex(" ")]
    return name[:60].rstrip(". ")
