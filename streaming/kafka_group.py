"""Membership of a Kafka consumer group as kafka-python keeps it, with two of its habits mended.

A member joins in the client's own thread while the consumer's thread polls for a moment at a time. kafka-python forgets
a join that ends between two polls and starts another, for which every other member has to join again: members that poll
briefly, or on a busy machine, chase each other without end. And the broker's answer that has no assignment in it, which
a member may be given that came too late for the leader's, ends the poll with an error of the decoding.
"""

from typing import cast

from kafka import KafkaConsumer
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import RebalanceInProgressError
from kafka.structs import MemberState


class Membership(ConsumerCoordinator):  # type: ignore[misc]  # kafka-python has no types
    """The coordinator of a consumer; its coroutines run in the client's own thread."""

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

    async def _do_join_and_sync_async(self) -> bytes:
        assignment = cast(bytes, await super()._do_join_and_sync_async())
        if not assignment:
            self.request_rejoin()
            raise RebalanceInProgressError(self.group_id)
        return assignment


def mend(client: KafkaConsumer) -> Membership:
    """The consumer's membership, from now on without those habits."""
    client._coordinator.__class__ = Membership
    return cast(Membership, client._coordinator)
