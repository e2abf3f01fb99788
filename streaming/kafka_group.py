"""Membership of a Kafka consumer group as kafka-python keeps it, with four of its habits mended.

A member joins in the client's own thread while the consumer's thread polls for a moment at a time. kafka-python forgets
a join that ends between two polls and starts another, for which every other member has to join again: members that poll
briefly, or on a busy machine, chase each other without end. And the broker's answer that has no assignment in it, which
a member may be given that came too late for the leader's, ends the poll with an error of the decoding. And a member
that gives partitions up joins again within milliseconds, which may be sooner than a broker has told the others how the
join before it went; they are then waited for until their time to join is over. And a member that is closed when it has
just heard that its generation is over leaves without a word, and is waited for until its session ends.
"""

from time import monotonic
from typing import Any, Final, cast

from kafka import KafkaConsumer
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import RebalanceInProgressError
from kafka.structs import MemberState

PAUSE_SECONDS: Final = 0.25  # from one join of a member to its next


class Membership(ConsumerCoordinator):  # type: ignore[misc]  # kafka-python has no types
    """The coordinator of a consumer; its coroutines run in the client's own thread."""

    _join_task: Any
    _joined = 0.0  # when, on the monotonic clock

    @property
    def is_settled(self) -> bool:
        """Whether the member has what the group left to it, and knows of nothing that it has to join again for."""
        return self.state is MemberState.STABLE and not self.need_rejoin()

    async def join_group_async(self, timeout_ms: float | None = None) -> bool:
        """As kafka-python's, but goes on with a join that has ended since the last poll."""
        ended = self._join_task
        if ended is not None and ended.is_done:

            async def outcome() -> bytes:
                return cast(bytes, await ended)

            self._join_task = self._manager.call_soon(outcome)  # the same join, as one that is still to be heard of
        return cast(bool, await super().join_group_async(timeout_ms))

    async def maybe_leave_group_async(self, reason: str | None = None, timeout_ms: float | None = None) -> None:
        """As kafka-python's, but leaves whatever the brokers may know this member by."""
        with self._lock:
            if self._generation.has_member_id():
                self.state = MemberState.REBALANCING
        await super().maybe_leave_group_async(reason, timeout_ms)

    async def _do_join_and_sync_async(self) -> bytes:
        await self._net.sleep(max(self._joined + PAUSE_SECONDS - monotonic(), 0.0))
        assignment = cast(bytes, await super()._do_join_and_sync_async())
        self._joined = monotonic()
        if not assignment:
            self.request_rejoin()
            raise RebalanceInProgressError(self.group_id)
        return assignment


def mend(client: KafkaConsumer) -> Membership:
    """The consumer's membership, from now on without those habits."""
    client._coordinator.__class__ = Membership
    return cast(Membership, client._coordinator)
