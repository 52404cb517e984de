"""An extract's rows: which can be sent, and which are news."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from deploy.tracker.__main__ import main
from shared.contracts.base import utc
from shared.sources import rows as rows_module
from shared.sources.declaration import Bulk
from shared.sources.delivery import Delivery
from shared.sources.files import read_sources
from shared.sources.mappers import read
from shared.sources.rows import LONGEST_ROW, BadRow, NotReadable, Row, news, read_rows
from tests.source_payloads import FOLDER

CSV = Bulk(format="csv", key="no", delimiter=";")
NDJSON = Bulk(format="ndjson", key="no")
PARQUET = Bulk(format="parquet", key="no")
UTF_16 = Bulk(format="csv", key="no", delimiter=";", encoding="utf-16")
AT = utc(2026, 3, 2, 2)


@pytest.fixture
def extract(tmp_path: Path) -> Path:
    return tmp_path / "extract"


def rows(text: str, bulk: Bulk = CSV) -> list[Row | BadRow]:
    with tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        path.write_bytes(text.encode())
        return list(read_rows(bulk, path))


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
FORMS = pytest.mark.parametrize("bulk", [CSV, NDJSON, PARQUET], ids=lambda bulk: bulk.format)


def written(bulk: Bulk, path: Path, extract: list[dict[str, Any]], columns: Sequence[str] = ("no", "name")) -> None:
    """Write an extract in one of its forms; each cell is text."""
    if bulk.format == "csv":
        lines = [columns, *([str(row[name]) for name in columns] for row in extract)]
        path.write_text("".join(";".join(line) + "\n" for line in lines))
    elif bulk.format == "ndjson":
        path.write_text("".join(json.dumps({name: row[name] for name in columns}) + "\n" for row in extract))
    else:
        fields = pa.schema([(name, pa.string()) for name in columns])
        parquet.write_table(pa.Table.from_pylist(extract, schema=fields), path, row_group_size=3)


@FORMS
@given(before=extracts, now=extracts)
@settings(max_examples=25)
def test_news_is_exactly_what_is_new_or_differs(bulk: Bulk, before: dict[int, str], now: dict[int, str]) -> None:
    def as_rows(extract: dict[int, str]) -> list[dict[str, Any]]:
        return [{"no": str(no), "name": name} for no, name in extract.items()]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "extract"
        written(bulk, path, as_rows(before))
        known: dict[str, bytes | int] = {row.key: row.digest for row in read_rows(bulk, path) if isinstance(row, Row)}
        assert set(known) == {str(no) for no in before}
        written(bulk, path, as_rows(now))
        found = {row.key: row.fields for row in news(bulk, path, known) if isinstance(row, Row)}
    assert found == {str(no): {"no": str(no), "name": name} for no, name in now.items() if before.get(no) != name}
    missing = {key for key, seen in known.items() if isinstance(seen, bytes)}
    assert missing == {str(no) for no in before.keys() - now.keys()}


@FORMS
def test_the_order_of_the_columns_is_no_news_and_a_column_more_is(bulk: Bulk, extract: Path) -> None:
    row = {"no": "1", "name": "Ann", "unit": "U1"}
    written(bulk, extract, [row], ("no", "name", "unit"))
    (first,) = read_rows(bulk, extract)
    assert isinstance(first, Row)
    written(bulk, extract, [row], ("unit", "name", "no"))
    assert list(news(bulk, extract, {"1": first.digest})) == []
    written(bulk, extract, [row], ("no", "name"))
    assert len(list(news(bulk, extract, {"1": first.digest}))) == 1


def test_parquets_types_are_read_as_json_has_them(extract: Path) -> None:
    row = {
        "no": 7,
        "since": date(2024, 10, 1),
        "at": datetime(2026, 3, 1, 9, tzinfo=UTC),
        "share": Decimal("0.80"),
        "tags": ["a", "b"],
        "left": None,
    }
    parquet.write_table(pa.Table.from_pylist([row]), extract)
    (found,) = read_rows(PARQUET, extract)
    assert isinstance(found, Row)
    assert json.loads(found.body(AT))["row"] == {
        "no": 7,
        "since": "2024-10-01",
        "at": "2026-03-01T09:00:00+00:00",
        "share": "0.80",
        "tags": ["a", "b"],
        "left": None,
    }


def test_a_row_of_a_parquet_file_that_cannot_be_sent_is_told_and_the_others_go_on(extract: Path) -> None:
    table = [{"no": "1", "raw": b"x"}, {"no": None, "raw": None}, {"no": "2", "raw": None}, {"no": "2", "raw": None}]
    parquet.write_table(pa.Table.from_pylist(table), extract)
    found = list(read_rows(PARQUET, extract))
    assert [(row.line, row.reason) for row in found if isinstance(row, BadRow)] == [
        (1, "has a cell that JSON can't say: Type is not JSON serializable: bytes"),
        (2, "has nothing in no, which tells rows apart"),
        (4, "has the same no as line 3; which of them holds is not known"),
    ]
    assert [row.key for row in found if isinstance(row, Row)] == ["2"]


def test_a_parquet_file_is_read_a_few_rows_at_a_time(extract: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(PARQUET, extract, [{"no": str(no), "name": "x"} for no in range(10)])
    found = read_rows(PARQUET, extract)
    opened: list[Any] = []
    batches = parquet.ParquetFile.iter_batches

    def counted(file: Any, **options: Any) -> Any:
        for batch in batches(file, **options):
            opened.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", counted)
    monkeypatch.setattr(rows_module, "_TOGETHER", 4)
    next(found)
    assert opened == [4]
    assert len(list(found)) == 9


@pytest.mark.parametrize(
    ("bulk", "content", "told"),
    [
        (PARQUET, b"no;name\n1;Ann\n", "is no Parquet"),
        (CSV, "no;name\n1;Jörg\n".encode("latin-1"), "is not utf-8-sig: .*; set bulk.encoding"),
        (NDJSON, '{"no": "Jörg"}\n'.encode("latin-1"), "is not utf-8-sig"),
        (UTF_16, "no;name\n1;Ann\n".encode("utf-16-le"), "is not utf-16: .*; set bulk.encoding"),
    ],
)
def test_a_file_that_is_something_else_is_told(bulk: Bulk, content: bytes, told: str, extract: Path) -> None:
    extract.write_bytes(content)
    with pytest.raises(NotReadable, match=told):
        list(read_rows(bulk, extract))


def test_a_parquet_file_without_its_key_names_what_it_has(extract: Path) -> None:
    parquet.write_table(pa.table({"number": ["1"]}), extract)
    (bad_row,) = read_rows(PARQUET, extract)
    assert isinstance(bad_row, BadRow)
    assert bad_row.reason == "has to name the columns, no among them, each once; it names number"


def test_a_row_that_returns_to_what_it_was_is_told_under_another_id() -> None:
    declaration = read_sources(FOLDER)["workday"]
    row = Row(2, "E1", b"", ["Employee ID", "Worker"], ["E1", "Ann Lee"])
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
