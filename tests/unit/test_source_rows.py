"""An extract's rows: which can be sent, and which are news."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.tracker.__main__ import main
from shared.contracts.base import utc
from shared.sources.declaration import Bulk
from shared.sources.delivery import Delivery
from shared.sources.files import read_sources
from shared.sources.mappers import read
from shared.sources.rows import LONGEST_ROW, BadRow, Row, news, read_rows
from tests.source_payloads import FOLDER

CSV = Bulk(format="csv", key="no", delimiter=";")
NDJSON = Bulk(format="ndjson", key="no")
AT = utc(2026, 3, 2, 2)


def rows(text: str, bulk: Bulk = CSV) -> list[Row | BadRow]:
    return list(read_rows(bulk, io.StringIO(text, newline="")))


def bad(text: str, bulk: Bulk = CSV) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows(text, bulk) if isinstance(row, BadRow)]


def test_a_csv_is_read_with_its_quotes_line_ends_and_blank_lines() -> None:
    found = rows('no ;name\r\n1;"Ann; Lee"\r\n\r\n2;"two\nlines"\r\n')
    assert [(row.line, row.key, row.fields) for row in found if isinstance(row, Row)] == [
        (2, "1", {"no": "1", "name": "Ann; Lee"}),
        (5, "2", {"no": "2", "name": "two\nlines"}),
    ]


def test_ndjson_is_read_as_it_is() -> None:
    (row,) = rows('{"no": 7, "a": {"b": 1.5}}\n\n', NDJSON)
    assert isinstance(row, Row)
    assert (row.key, row.fields["a"]) == ("7", {"b": 1.5})


@pytest.mark.parametrize(
    ("text", "bulk", "line", "told"),
    [
        ("no;name\n1;a;b\n2;c\n", CSV, 2, "has 3 cells, and the head has 2"),
        ("no;name\n ;a\n2;c\n", CSV, 2, "has nothing in no, which tells rows apart"),
        ("no;name\n1;a\n2;c\n1;b\n", CSV, 4, "has the same no as line 2; which of them holds is not known"),
        ("number;name\n1;a\n", CSV, 1, "has to name the columns, no among them, each once; it names number, name"),
        ("no;no\n1;1\n", CSV, 1, "has to name the columns, no among them, each once"),
        ('no;name\n2;c\n1;"a"b\n', CSV, 3, "is no CSV"),
        ("{broken\n{}\n", NDJSON, 1, "is not JSON"),
        ("[1]\n", NDJSON, 1, "is not a JSON object"),
        ('{"no": true}\n', NDJSON, 1, "has nothing in no"),
        ('{"no": 1, "x": "' + "y" * LONGEST_ROW + '"}', NDJSON, 1, f"has more than {LONGEST_ROW} bytes"),
    ],
)
def test_a_row_that_cannot_be_sent_is_told_with_its_line_and_the_others_go_on(
    text: str, bulk: Bulk, line: int, told: str
) -> None:
    assert any(at == line and reason.startswith(told) for at, reason in bad(text, bulk)), bad(text, bulk)
    assert ("2;c" in text) == any(isinstance(row, Row) and row.key == "2" for row in rows(text, bulk))


extracts = st.dictionaries(st.integers(1, 30), st.text("abc", max_size=2), max_size=20)


@given(extracts, extracts)
def test_news_is_exactly_what_is_new_or_differs(before: dict[int, str], now: dict[int, str]) -> None:
    def as_rows(extract: dict[int, str]) -> list[Row]:
        return [Row(at, str(no), {"no": str(no), "name": name}) for at, (no, name) in enumerate(extract.items())]

    known = {row.key: row.digest() for row in as_rows(before)}
    found = {row.key for row, _ in news(as_rows(now), known)}
    assert found == {str(no) for no, name in now.items() if before.get(no) != name}


def test_the_order_of_the_columns_is_no_news() -> None:
    row, again = Row(2, "1", {"no": "1", "a": "x"}), Row(2, "1", {"a": "x", "no": "1"})
    assert list(news([again], {"1": row.digest()})) == []


def test_a_row_that_returns_to_what_it_was_is_told_under_another_id() -> None:
    declaration = read_sources(FOLDER)["workday"]
    row = Row(2, "E1", {"Employee ID": "E1", "Worker": "Ann Lee"})
    first, again, later = (
        read(declaration, Delivery("workday", row.body(at), {}, at)).events[0] for at in (AT, AT, utc(2026, 3, 3, 2))
    )
    assert first == again
    assert first.id != later.id


def test_check_reads_an_extract_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extract = tmp_path / "workers.csv"
    extract.write_text(
        "\ufeffEmployee ID,Worker,Primary Work Email,Supervisory Organization ID,Manager ID,Location,Job Profile,"
        "Time in Job Profile Start Date,Termination Date\n"
        "E1,Ann Lee,ann@example.com,U2,E3,Berlin,Engineer,2024-10-01,\n"
        "E2,Bo Ray,bo@example.com,U2,E3,Berlin,Engineer,2024-10-01,2026-02-28\n"
        "E3,too few\n"
    )
    assert main(["source", "check", "workday", "--payload", str(extract), "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["payloads"]
    said: list[tuple[str, Any]] = [(event["type"], event["data"]) for event in told["events"]]
    assert said == [
        (
            "employee.changed",
            {
                "employee_id": "E1",
                "name": "Ann Lee",
                "email": "ann@example.com",
                "unit_id": "U2",
                "manager_id": "E3",
                "location": "Berlin",
                "level_since": "2024-10-01",
            },
        ),
        ("employee.left", {"employee_id": "E2", "effective_at": "2026-02-28T00:00:00+00:00"}),
    ]
    assert told["faults"] == ["line 4: has 2 cells, and the head has 9"]
    extract.write_text("userId,status,firstName,lastName,endDate\nS1,t,Ann,Lee,\nS2,f,Bo,Ray,2026-02-28\n")
    assert main(["source", "check", "successfactors", "--payload", str(extract), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["payloads"]
    assert [(event["type"], event["data"].get("name")) for event in told["events"]] == [
        ("employee.changed", "Ann Lee"),
        ("employee.left", None),
    ]
