"""Runs the whole system on a made-up company: Kafka, all services, a year of events, and what came of it."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Final

import httpx
from kafka.errors import KafkaError
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deploy.broker import LOCAL, PROJECT, Broker, BrokerError, ExternalBroker, choose_broker
from deploy.feeding import Feeder, NotTaken
from deploy.lag import LagReader
from deploy.outcome import Insights, differences
from deploy.processes import LOGS, ServiceError
from deploy.system import System, start_system, wait_until_quiet
from shared.company.scenario import Scenario, demo_scenario
from shared.contracts.ids import EmployeeId, EventId, PromptId
from shared.contracts.outputs import PromptBody, PromptOpened
from shared.portal_links import own_link
from shared.prompt_text import render
from shared.streaming.topics import OtherPartitions, create_topics

QUIET_WITHIN_SECONDS: Final = 60

out = Console(highlight=False)


class DemoFailed(Exception):
    """The demo did not come out as it should; the message says what to look at."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo. Exit 0 if prompts and gaps are those that the scenario calls for, 1 otherwise, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop everything at the end, even at a terminal")
    asked = parser.parse_args(arguments)
    stays = not asked.exit and sys.stdin.isatty() and sys.stdout.isatty()
    signal.signal(signal.SIGTERM, _stop_on_sigterm)
    begun = time.monotonic()
    try:
        with contextlib.ExitStack() as running:
            last_line = _run(running, begun, stays=stays)
            out.print(last_line, soft_wrap=True)
            if stays:
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    except (DemoFailed, ServiceError, BrokerError, NotTaken, httpx.HTTPError, KafkaError, OtherPartitions) as exc:
        print(f"demo: {exc}\ndemo: the services' logs are in {LOGS.relative_to(PROJECT)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 130
    return 0


def _run(running: contextlib.ExitStack, begun: float, *, stays: bool) -> str:
    scenario = demo_scenario()
    # Kafka first: it is needed by all, and the first time it is fetched.
    with _doing("Starting Kafka") as say:
        broker = _start_broker(running, say)
        create_topics(broker.bootstrap_servers)
    with _doing("Starting the services"):
        system = start_system(running, broker.bootstrap_servers, scenario, received=LOCAL / "received.ndjson")
    stack = system.stack
    insights = Insights(stack.url("insights"))
    running.callback(insights.close)
    was_here_before = insights.get("/v1/summary")["clock"] is not None
    _tell(running, scenario, system)

    if dead := stack.dead():
        raise DemoFailed("services ended by themselves: " + ", ".join(f"{n} (exit code {c})" for n, c in dead.items()))
    if wrong := differences(insights, scenario):
        again = "\nThe data of an earlier run lies beneath: `make clean` begins anew." if was_here_before else ""
        raise DemoFailed("it came out otherwise than the scenario calls for:\n  " + "\n  ".join(wrong[:20]) + again)
    summary = insights.get("/v1/summary")
    received = httpx.get(f"{system.receiver}/received", trust_env=False).json()
    _show(summary, received, insights, system, scenario, was_here_before=was_here_before, stays=stays)
    return (
        f"demo: prompts_opened={summary['prompts']['opened']} prompts_fulfilled={summary['prompts']['fulfilled']}"
        f" gaps={summary['gaps']['opened']} deliveries={summary['deliveries']['delivered']}"
        f" elapsed_s={time.monotonic() - begun:.1f}"
    )


def _start_broker(running: contextlib.ExitStack, say: Any) -> Broker | ExternalBroker:
    broker = choose_broker(die_with_parent=True, say=say)
    runs_already = broker.status().running
    broker.start()
    if not runs_already:  # who started it stops it
        running.callback(broker.stop)
    return broker


def _tell(
    running: contextlib.ExitStack,
    scenario: Scenario,
    system: System,
) -> None:
    """Feed phase by phase; each is worked off before the next begins, as months lie between them."""
    feeder = Feeder(system.stack.url("gateway"), system.tokens, system.bootstrap_servers)
    running.callback(feeder.close)
    lag = LagReader(system.bootstrap_servers)
    running.callback(lag.close)
    total = sum(len(phase.records) for phase in scenario.phases)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
    ) as progress:
        fed = progress.add_task("Feeding the company's events", total=total)
        for phase in scenario.phases:
            progress.console.print(f"[bold]{phase.name}[/]: {phase.told_as}")
            feeder.feed(phase.records, lambda count: progress.advance(fed, count))
            if behind := wait_until_quiet(system, lag, within=QUIET_WITHIN_SECONDS):
                late = ", ".join(f"{g} {n} of {t}" for g, topics in behind.items() for t, n in topics.items() if n)
                raise DemoFailed(f"{phase.name!r} was not worked off in {QUIET_WITHIN_SECONDS} s; lag: {late}")


def _show(
    summary: dict[str, Any],
    received: dict[str, Any],
    insights: Insights,
    system: System,
    scenario: Scenario,
    *,
    was_here_before: bool,
    stays: bool,
) -> None:
    prompts, gaps, deliveries = summary["prompts"], summary["gaps"], summary["deliveries"]
    table = Table("what happened", "how many", title="The company's autumn, in numbers", title_justify="left")
    table.columns[1].justify = "right"
    fed = sum(len(phase.records) for phase in scenario.phases)
    rows = [
        ("events fed in", fed),
        ("  of them not to be understood, kept as dead letters", sum(scenario.expected_dead_letters.values())),
        (
            "career events made of them, in this run and any before"
            if was_here_before
            else "career events made of them",
            sum(summary["career_events"].values()),
        ),
        ("prompts opened", prompts["opened"]),
        ("prompts updated", prompts["updated"]),
        ("prompts fulfilled", prompts["fulfilled"]),
        ("prompts withdrawn", prompts["withdrawn"]),
        ("prompts that stand now", prompts["standing"]),
        ("gaps found", gaps["opened"]),
        ("gaps that stand now", gaps["standing"]),
        ("deliveries made", deliveries["delivered"]),
        (
            "  of them taken by the receiver in this run, signature verified",
            received["accepted"] - received["accepted_before"],
        ),
    ]
    for what, count in rows:
        table.add_row(what, f"{count:,}")
    out.print(table)
    prompt = _one_prompt(insights, scenario)
    out.print(_as_its_sponsor_reads_it(prompt))
    out.print(_one_gap(insights))
    pages = Table.grid(padding=(0, 2))
    for what, url in (
        ("prompts as sponsors got them, with a way to answer", system.receiver),
        ("insights: overview", system.stack.url("insights", "/")),
        ("insights: dashboard", system.stack.url("insights", "/dashboard")),
        ("insights: API", system.stack.url("insights", "/openapi.json")),
        ("gateway: API", system.stack.url("gateway", "/openapi.json")),
        ("metrics, of each service", system.stack.url("correlator", "/metrics")),
    ):
        pages.add_row(what, url)
    out.print("The page of their own evidence, for whom that prompt is about:")
    out.print(Text(_own_page(system, prompt)), soft_wrap=True)  # whole: it is no link if it is broken
    if stays:
        out.print(Panel(Group(pages, Text("\nAll of it runs until Ctrl-C.")), title="These run now", expand=False))
    else:
        out.print(Panel(pages, title="These ran, and stop now (`make demo` at a terminal leaves them)", expand=False))


def _one_prompt(insights: Insights, scenario: Scenario) -> dict[str, Any]:
    """Return the prompt with the late and strong achievement."""
    wanted = scenario.cast.late_and_strong.achievement_id
    for found in insights.all("/v1/prompts", status="open"):
        prompt: dict[str, Any] = insights.get(f"/v1/prompts/{found['prompt_id']}")
        if any(piece["evidence_id"] == wanted for piece in prompt["body"]["evidence"]):
            return prompt
    raise DemoFailed("no standing prompt to show")  # `differences` would have said so before


def _own_page(system: System, prompt: dict[str, Any]) -> str:
    in_a_week = datetime.now(UTC) + timedelta(days=7)
    return own_link(system.portal.url, system.portal.key, EmployeeId(prompt["employee_id"]), in_a_week)


def _as_its_sponsor_reads_it(prompt: dict[str, Any]) -> Group:
    opened = PromptOpened(
        id=EventId(prompt["prompt_id"]),
        prompt_id=PromptId(prompt["prompt_id"]),
        version=prompt["version"],
        sponsor_id=EmployeeId(prompt["sponsor_id"]),
        cycle_id=prompt["cycle_id"],
        employee_id=EmployeeId(prompt["employee_id"]),
        at=prompt["changed_at"],
        because_of=prompt["because_of"],
        sponsor_timezone=prompt["sponsor_timezone"],
        body=PromptBody.model_validate(prompt["body"]),
    )
    return Group(Rule("One prompt, as its sponsor reads it"), Text(render(opened)), Rule())


def _one_gap(insights: Insights) -> Group:
    gap = max(insights.all("/v1/gaps", status="open"), key=lambda g: (len(g["suggestions"]), g["gap_id"]))
    lines = [f"{gap['employee_name']} (level {gap['level']}): nobody speaks for them in {gap['cycle_title']}."]
    lines += [f"  could be asked: {s['name']} (level {s['level']}). {s['why']}" for s in gap["suggestions"]]
    return Group(Rule("One gap, as the people team reads it"), Text("\n".join(lines)), Rule())


@contextlib.contextmanager
def _doing(what: str) -> Iterator[Any]:
    begun = time.monotonic()
    with out.status(f"{what} …") as status:
        yield lambda line: status.update(f"{what}: {line}")
    out.print(f"{what}: {time.monotonic() - begun:.1f} s")


def _stop_on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
