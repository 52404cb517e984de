"""What can be wrong with the benchmarks without a broker: what they give the peers, and what they make of figures."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from bench import correlate, issues, latency, rehearsal, table
from bench.dataset import Dataset, achievements, careers
from bench.figures import Figure, Machine, read_results, spread, tell
from bench.installing import PROJECT
from bench.lab import Commit, Kept, Peer, PeerFailed, check, rates
from bench.offering import Offer, Offered, offer
from bench.options import as_typed
from bench.peers import bare_rules, tracker
from services.correlator.facts import learn
from services.correlator.facts import tell as learn_of_everybody
from services.correlator.policy import Policy
from services.correlator.rules import decide
from services.correlator.state import Calendar, EmployeeState, encode_employee
from shared.contracts.career import AchievementRecorded, ClockTicked, CycleOpened, read_career_event
from shared.contracts.said import write
from shared.sources.delivery import Delivery
from shared.sources.files import read_sources
from shared.sources.mapping import map_delivery
from tests.career import Log
from tests.histories import a_history


def a_figure(**changes: object) -> Figure:
    size = {"events": 1000, "employees": 10}
    figure = Figure("correlate", "events_per_second", 100.0, "events/s", "tracker", {"aiokafka": "1"}, size, 1)
    return replace(figure, **changes)  # type: ignore[arg-type]


def test_the_same_size_gives_the_same_bytes_in_every_version() -> None:
    digest = sha256(b"".join(value for _, _, value in achievements(1000, 50))).hexdigest()
    assert digest == "8a4b19f0511d4eff8ef1ebb8dab29e900ef91c69b9773047e34b64a83909350b"


def test_another_seed_gives_other_achievements() -> None:
    assert list(achievements(10, 50)) != list(achievements(10, 50, seed=2))


def test_an_achievement_is_a_career_event_of_the_employee_that_it_is_keyed_by() -> None:
    for employee, impact, value in achievements(200, 50):
        event = read_career_event(value)
        assert isinstance(event, AchievementRecorded)
        assert (event.employee_id, event.achievement.impact) == (employee, impact)


def test_achievements_have_ids_of_their_own_and_fall_on_all_employees() -> None:
    events = [read_career_event(value) for _, _, value in achievements(2000, 50)]
    assert len({event.id for event in events}) == 2000
    assert len({event.employee_id for event in events}) == 50


def test_what_comes_before_the_achievements_gives_the_rules_something_to_say_of_each() -> None:
    opened, ticked, *of_one = islice(careers(1), 5)
    assert isinstance(opened, CycleOpened)
    assert isinstance(ticked, ClockTicked)
    calendar = a_calendar(opened, ticked)
    employee = EmployeeState("E0000000")
    for event in of_one:
        employee = learn(employee, event)  # type: ignore[arg-type]
    achieved = read_career_event(next(achievements(1, 1))[2])
    decision = decide(employee, calendar, achieved, Policy())  # type: ignore[arg-type]
    assert [said.type for said in decision.outputs] == ["prompt.opened"]


def a_calendar(*events: CycleOpened | ClockTicked) -> Calendar:
    calendar = Calendar()
    for event in events:
        calendar = learn_of_everybody(calendar, event)
    return calendar


def test_the_bare_loop_with_the_rules_says_what_the_correlator_says() -> None:
    said = 0
    for seed in range(60):
        events = a_history(Random(seed))
        partition = bare_rules.Partition()
        outputs = [write(output) for e in events for decision in partition.take(e) for output in decision.outputs]
        assert sorted(outputs) == sorted(write(output) for output in Log(*events).outputs)
        said += len(outputs)
    assert said > 100


def test_a_rehearsal_has_all_that_rules_say_in_it_so_that_no_part_of_them_can_be_left_out() -> None:
    said = [json.loads(value or b"") for _, _, value in rehearsal.right()]
    assert {one["type"] for one in said} == {
        "prompt.opened",
        "prompt.updated",
        "prompt.withdrawn",
        "prompt.fulfilled",
        "gap.opened",
        "gap.closed",
    }
    because = {one["reason"] for one in said if one["type"] == "prompt.withdrawn"}
    assert because == {"cycle_closed", "cycle_cancelled", "employee_left", "relationship_ended", "declined"}
    assert any(one["snoozed_until"] for one in said if one["type"] == "prompt.updated")


def test_who_says_something_else_in_the_rehearsal_is_not_measured() -> None:
    class Listening:
        def rehearse(self, peer: Peer) -> None:
            if peer.name == "one that forgets":
                raise PeerFailed("of the 10 records that the rules say in the rehearsal it wrote 9, and 0 others")

    peers = [Peer(name, (), {}, whole_rules=rules) for name, rules in RULES_OR_NOT.items()]
    out = io.StringIO()
    ready, failures = correlate.rehearsed(peers, Listening(), Console(file=out, width=200))  # type: ignore[arg-type]
    assert [peer.name for peer in ready] == ["one that counts", "one that knows them"]
    assert failures == ["one that forgets, rehearsal"]
    assert "it wrote 9" in out.getvalue()


RULES_OR_NOT = {"one that counts": False, "one that knows them": True, "one that forgets": True}


def test_what_peers_keep_beside_employees_is_not_taken_for_one() -> None:
    employee = encode_employee(EmployeeState("E1"))
    read = correlate.read_peers_rules
    assert read(b"E1", employee) == read(b'E1|"employee"', employee) == Kept(0, 0, 0)
    assert [read(key, b"?") for key in (b"calendar", b'null|"calendar"', b'null|"listed"', b'null|"listed/7"')] == [
        None
    ] * 4


def test_a_tally_of_ours_takes_about_240_bytes() -> None:
    titles = [tracker.read(value).achievement.title for _, _, value in islice(achievements(1_000_000, 5), 5)]
    assert 180 < len(tracker.encode(tracker.Tally(50, 75, titles, 200_000))) < 300


def test_a_median_is_the_middle_with_the_least_and_the_most_beside_it() -> None:
    found = spread([5.0, 1.0, 9.0, 2.0, 4.0])
    assert (found.median, found.least, found.most, found.count) == (4.0, 1.0, 9.0, 5)


def test_the_median_of_an_even_number_lies_between_the_two_in_the_middle() -> None:
    assert spread([1.0, 2.0, 4.0, 100.0]).median == 3.0


def test_what_is_told_can_be_read_again() -> None:
    out = io.StringIO()
    machine = Machine(2, 7.8, "a processor", {"Java": "17"}, "python -m bench.correlate", "noisy")
    tell(machine, out)
    tell(a_figure(), out)
    assert all(json.loads(line) for line in out.getvalue().splitlines())
    results = read_results(out.getvalue().splitlines())
    assert (results.machines, results.figures) == ([machine], [a_figure()])


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"kind": "rumour"}', '{"kind": "figure", "value": 1}'])
def test_a_line_that_is_no_figure_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        read_results(["", line])


def test_the_table_has_a_row_a_peer_with_median_least_and_most() -> None:
    figures = [a_figure(value=value, pair=pair) for pair, value in enumerate([3000.0, 1000.0, 2000.0], start=1)]
    figures.append(a_figure(peer="Quix Streams", value=50.0))
    lines = table.table(figures).splitlines()
    assert lines[0].startswith("| benchmark | size | peer | events/s |")
    assert "| correlate | 1,000 events, 10 employees | tracker | 2,000 (1,000-3,000) |" in lines[2]
    assert lines[2].endswith("| 3 |")
    assert "| Quix Streams | 50 |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def test_sizes_and_benchmarks_are_never_mixed_in_a_row() -> None:
    figures = [a_figure(), a_figure(size={"events": 1000, "employees": 99}), a_figure(bench="rules")]
    assert len(table.table(figures).splitlines()) == 2 + 3


def test_what_was_less_work_stands_first() -> None:
    figures = [a_figure(size={"events/s offered": rate, "seconds": 20}) for rate in (1000, 100, 5000)]
    rows = table.table(figures).splitlines()[2:]
    assert [row.split(" | ")[1].partition(" ")[0] for row in rows] == ["100", "1,000", "5,000"]


def test_the_page_has_the_machine_the_versions_the_command_and_the_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    with file.open("w") as out:
        tell(Machine(2, 7.8, "a processor", {"Java": "17"}, "python -m bench.correlate --pairs 1", "Noisy."), out)
        tell(a_figure(), out)
    assert table.main([str(file)]) == 0
    page = capsys.readouterr().out
    assert "- **tracker**: aiokafka 1" in page
    assert "- `python -m bench.correlate --pairs 1`: 2 cores (a processor), 7.8 GiB memory, Java 17. Noisy.\n" in page


def test_a_file_without_a_figure_makes_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert table.main([str(empty)]) == 2
    assert table.main([str(tmp_path / "absent.jsonl")]) == 2
    assert capsys.readouterr().out == ""


def test_the_command_is_told_as_it_is_typed_without_its_note() -> None:
    arguments = ["--pairs", "2", "--note", "a busy machine", "--peers", "tracker"]
    assert as_typed("bench.correlate", arguments) == "python -m bench.correlate --pairs 2 --peers tracker"


@pytest.mark.parametrize("arguments", [["--pairs", "0"], ["--peers", "spark"], ["--employees", "some"]])
def test_a_wrong_argument_is_refused_before_anything_starts(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        correlate.main(arguments)
    assert refused.value.code == 2


def test_a_rate_is_counted_from_the_first_commit_past_the_preamble_to_the_last_before_the_end() -> None:
    seen = [
        Commit((10, 0), 100.0, 1.0),  # the preamble: (10, 10)
        Commit((20, 10), 101.0, 2.0),
        Commit((60, 50), 103.0, 4.0),
        Commit((65, 55), 108.0, 4.5),  # waited for
    ]
    assert rates(seen, (10, 10)) == (80 / 2.0, 90 / 2.5)


def test_a_quarter_of_the_work_has_to_lie_between_two_commits() -> None:
    start, late, end = Commit((80, 80), 1.0, 1.0), Commit((90, 90), 2.0, 2.0), Commit((100, 100), 3.0, 3.0)
    assert rates([start, late, end], (0, 0)) == (None, None)
    assert rates([end], (0, 0)) == (None, None)
    assert rates([Commit((50, 50), 0.0, 0.0), late, end], (0, 0)) == (40.0, 100 / 3)


DATASET = Dataset("achievements-8-3", events=8, employees=3, starts=(0,), ends=(8,), concerned=2, impact=11)
RIGHT = (Kept(7, 8, 5), Kept(1, 3, 1))


def test_a_right_state_is_let_pass() -> None:
    check(RIGHT, DATASET, whole_rules=False)
    check((*(replace(kept, titles=kept.count) for kept in RIGHT), Kept(0, 0, 0)), DATASET, whole_rules=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 6},  # lost
        {"count": 8},  # twice
        {"impact": 9},
        {"titles": 4},
        {"titles": 6},
    ],
)
def test_a_state_that_is_not_what_the_dataset_says_has_no_figure(wrong: dict[str, int]) -> None:
    with pytest.raises(PeerFailed):
        check((replace(RIGHT[0], **wrong), RIGHT[1]), DATASET, whole_rules=False)


def test_an_employee_too_few_or_too_many_has_no_figure() -> None:
    for kept in (RIGHT[:1], (*RIGHT, Kept(0, 0, 0))):
        with pytest.raises(PeerFailed):
            check(kept, DATASET, whole_rules=False)


# -- latency --------------------------------------------------------------------------------------

TEN_A_SECOND = Offer(first=100, count=4, rate=10, begin=50.0, people=2)
"""Due at 50.0, 50.1, 50.2 and 50.3; two about each of two people."""


def test_a_latency_counts_from_when_a_webhook_was_due_however_late_it_was_sent() -> None:
    assert latency.latencies(TEN_A_SECOND, {100: 51.0, 101: 51.0, 102: 51.0, 103: 51.0}) == pytest.approx(
        [0.7, 0.8, 0.9, 1.0]
    )


def test_news_that_was_overtaken_is_through_when_what_overtook_it_is() -> None:
    never_told = {102: 50.5, 103: 50.5}
    assert latency.latencies(TEN_A_SECOND, never_told) == pytest.approx([0.2, 0.3, 0.4, 0.5])
    told_late = {100: 60.0, 101: 60.0, **never_told}
    assert latency.latencies(TEN_A_SECOND, told_late) == pytest.approx([0.2, 0.3, 0.4, 0.5])


def test_all_is_through_when_the_last_of_each_person_is() -> None:
    assert latency.missing(TEN_A_SECOND, {102: 50.5}) == 1
    assert latency.missing(TEN_A_SECOND, {102: 50.5, 103: 50.5}) == 0
    assert latency.missing(replace(TEN_A_SECOND, people=1000), {102: 50.5, 103: 50.5}) == 2


def test_a_share_is_the_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(1, 1001)]
    assert [latency.share(values, below) for _, below in latency.SHARES] == [500.0, 990.0, 999.0]
    assert latency.share([7.0], 0.999) == 7.0


def test_a_webhook_is_one_of_jira_that_its_file_reads_and_its_secret_signs() -> None:
    declaration = read_sources(PROJECT / "deploy" / "sources")[issues.SOURCE]
    body, signature = issues.webhook(2007, 2000, datetime(2026, 3, 2, tzinfo=UTC).timestamp())
    assert declaration.webhook is not None
    declaration.webhook.signature.check([issues.SECRET], {"x-hub-signature": signature}, body, datetime.now(UTC))
    mapped = map_delivery(declaration, Delivery(issues.SOURCE, body, {}, datetime.now(UTC)))
    assert (mapped.faults, mapped.ignored) == ((), ())
    [event] = mapped.events
    assert (event.subject, event.type, issues.numbers_in(json.dumps(event.data).encode())) == (
        "jira:P7",
        "issue.resolved",
        [2007],
    )


async def test_what_is_offered_is_sent_until_it_is_taken() -> None:
    answers = iter([b"503 Busy\r\nretry-after: 0", *[b"200 OK"] * 4])
    taken: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                answer = next(answers)
                taken.extend(issues.numbers_in(body) if answer.startswith(b"200") else [])
                writer.write(b"HTTP/1.1 " + answer + b"\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        offered = await offer(replace(TEN_A_SECOND, rate=1000, begin=time.time(), port=port))
    assert sorted(taken) == [100, 101, 102, 103]
    assert (offered.accepted, offered.refused) == (4, 1)
    assert offered.took_seconds >= 0.003  # the last was due then


def test_a_rate_is_reached_when_webhooks_are_taken_as_fast_as_they_were_offered() -> None:
    in_time = Offered(accepted=4, refused=0, latest_seconds=0.0, took_seconds=0.4, cpu_seconds=0.0)
    assert latency.is_reached(TEN_A_SECOND, in_time)
    assert not latency.is_reached(TEN_A_SECOND, replace(in_time, took_seconds=0.5))
