"""Takes prompts and sponsors' choices in as they come, merges them into what is known, and tells the courier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic import ValidationError

from services.prompter.courier import Courier, State, not_sent
from services.prompter.learning import learn_choice, learn_prompt
from services.prompter.metrics import ALREADY_DEALT_WITH, CHOICES, DELIVERIES, NOT_SENT
from services.prompter.state import Sponsor, decode, encode
from shared.contracts.career import write_contract
from shared.contracts.choices import read_choice
from shared.contracts.outputs import ChannelName, read_prompt_event
from shared.streaming.records import Output, Poison, Record
from shared.streaming.service import reason_of
from shared.streaming.topics import DELIVERIES as DELIVERIES_TOPIC
from shared.streaming.topics import SPONSOR_CHOICES


class PromptHandler:
    """Handles records of `prompts` and of `sponsor-choices`; both are keyed by sponsor.

    Args:
        state: what is known of each sponsor.
        courier: is told whom something has become known about.
        channel: the company's first, under which is recorded what is not sent.
        clock: wall clock, aware.
    """

    def __init__(self, state: State, courier: Courier, channel: ChannelName, clock: Callable[[], datetime]) -> None:
        self._state, self._courier, self._channel, self._clock = state, courier, channel, clock

    def __call__(self, record: Record) -> Sequence[Output]:
        """Take in a record, and return what is to be recorded of what it overtakes.

        Raises:
            Poison: it is neither a prompt event nor a choice.
        """
        return self._choice(record) if record.topic == SPONSOR_CHOICES else self._prompt(record)

    def _prompt(self, record: Record) -> Sequence[Output]:
        try:
            event = read_prompt_event(record.value or b"")
        except ValidationError as exc:
            raise Poison(f"not a prompt event: {reason_of(exc)}") from exc
        now = self._clock()
        learned = learn_prompt(
            self._known(record.partition, event.sponsor_id), event, record.value or b"", record.offset, now
        )
        if learned is None:
            ALREADY_DEALT_WITH.inc()
            return ()
        sponsor, said = learned
        self._keep(record.partition, sponsor)
        for one in said:
            DELIVERIES.labels(one.outcome).inc()
            NOT_SENT.labels(one.reason).inc()
        recorded = [write_contract(not_sent(event.sponsor_id, one, self._channel, now)) for one in said]
        return [Output(DELIVERIES_TOPIC, event.sponsor_id.encode(), value) for value in recorded]

    def _choice(self, record: Record) -> Sequence[Output]:
        try:
            choice = read_choice(record.value or b"")
        except ValidationError as exc:
            raise Poison(f"not a sponsor's choice: {reason_of(exc)}") from exc
        if record.key != choice.sponsor_id.encode():
            raise Poison(
                "a choice has to be keyed by its sponsor_id: else it lies in another partition than the prompts"
            )
        CHOICES.labels(choice.type).inc()
        self._keep(record.partition, learn_choice(self._known(record.partition, choice.sponsor_id), choice))
        return ()

    def _known(self, partition: int, sponsor_id: str) -> Sponsor:
        kept = self._state.get(partition, sponsor_id)
        return decode(kept) if kept is not None else Sponsor(sponsor_id)

    def _keep(self, partition: int, sponsor: Sponsor) -> None:
        self._state.put(partition, sponsor.sponsor_id, encode(sponsor))
        self._courier.touch(partition, sponsor.sponsor_id)
