"""Events that collide: few ids, few times, few items, so that ties, repetitions and conflicts are common."""

from hypothesis import strategies as st

from features.events import Event, EventId, ItemId, UserId

USER = UserId("ada")


def events(most: int = 40) -> st.SearchStrategy[list[Event]]:
    one = st.builds(
        lambda number, item, value, at, session, properties: Event(
            EventId(f"e{number}"), USER, item, "view", value, float(at), session, None, properties
        ),
        st.integers(0, 25),
        st.none() | st.integers(0, 12).map(lambda n: ItemId(f"i{n}é")),
        st.none() | st.sampled_from([1.0, 2.5]),
        st.integers(0, 9),
        st.none() | st.sampled_from(["s"]),
        st.just({}) | st.just({"b": 1, "a": [None, "x"]}),
    )
    return st.lists(one, max_size=most)
