"""What can be wrong with the benchmarks without a broker: what they give the peers, and what they make of figures."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest

from bench import correlate, table
from bench.dataset import Dataset, achievements, careers
from bench.figures import Figure, Machine, read_results, spread, tell
from bench.lab import Commit, Kept, PeerFailed, check, rates
from bench.options import as_typed
from bench.peers import tracker
from services.correlator.facts import learn
from services.correlator.facts import tell as learn_of_everybody
from services.correlator.policy import Policy
from services.correlator.rules import decide
from services.correlator.state import Calendar, EmployeeState
from shared.contracts.career import AchievementRecorded, ClockTicked, CycleOpened, read_career_event


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
