"""Writes docs/asyncapi.yaml: all topics, and the JSON Schema of all that is in them, from the models of the code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from deploy.broker import PROJECT
from deploy.compatibility import breaks
from deploy.lag import READS
from services.people.changes import Change
from shared.contracts.audit import PortalAudited, ReadAudited
from shared.contracts.career import CareerEvent
from shared.contracts.choices import SponsorChoice
from shared.contracts.feeds import SHAPES
from shared.contracts.identities import Identity
from shared.contracts.outputs import DeliveryRecorded, GapEvent, PromptEvent
from shared.streaming.topics import (
    ALL_TOPICS,
    ATTRIBUTES,
    CAREER_EVENTS,
    DELIVERIES,
    FEED_PREFIX,
    GAPS,
    IDENTITIES,
    PARTITIONS,
    PEOPLE_CHANGES,
    PERSON_KEYS,
    PORTAL_AUDIT,
    PROMPTS,
    READS_AUDIT,
    SCIM_RESOURCES,
    SOURCES_CURSORS,
    SOURCES_RECEIVED,
    SOURCES_ROWS,
    SPONSOR_CHOICES,
    TopicSpec,
    feed_topic,
)

DOCUMENT: Final = PROJECT / "docs" / "asyncapi.yaml"
_SCHEMAS: Final = "#/components/schemas/"
_CONTRACTS: Final[Mapping[str, Any]] = {
    CAREER_EVENTS: CareerEvent,
    PEOPLE_CHANGES: Change,
    IDENTITIES: Identity,
    PROMPTS: PromptEvent,
    GAPS: GapEvent,
    DELIVERIES: DeliveryRecorded,
    SPONSOR_CHOICES: SponsorChoice,
    PORTAL_AUDIT: PortalAudited,
    READS_AUDIT: ReadAudited,
}
_KEYS: Final[Mapping[str, str]] = {
    CAREER_EVENTS: "The employee's id; none where an event concerns everybody and is in every partition.",
    PEOPLE_CHANGES: "The employee's id; a unit's where a change concerns everybody.",
    PROMPTS: "The sponsor's id.",
    GAPS: "The employee's id.",
    DELIVERIES: "The sponsor's id.",
    SPONSOR_CHOICES: "The sponsor's id.",
    READS_AUDIT: "The reader's name in the access file.",
    PORTAL_AUDIT: "The id of the person who was signed in; none where nobody was.",
    IDENTITIES: "A ref, a space and the id of an employee who claims it; in the partition of the ref. For a merge, the "
    "id that is used no more; in every partition.",
    SOURCES_RECEIVED: "What the source names as its subject, or the source's name. The value is what it sent, as it "
    "came; the header `source` names it, and headers that begin with http- are the request's.",
    PERSON_KEYS: "A mark of one of a person's names, and the id of its key: the value is that key, wrapped. Or "
    "the mark alone: the value says when that person was erased, and by whom.",
    SCIM_RESOURCES: "The kind of resource (User, Group), a slash, its id. The value is as RFC 7643 has it.",
    SOURCES_CURSORS: "The source's name, a slash, the list's. The value is how far it has been polled.",
    SOURCES_ROWS: "The source's name, a slash, the row's key. The value is a digest and the extract's time.",
}


class _Untitled(GenerateJsonSchema):
    """pydantic would give each field its own name as a title."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - as it is overridden
        return False


def document() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of what the code has now."""
    models = [model for union in _CONTRACTS.values() for model in _members(union)]
    models += [shape for types in SHAPES.values() for shape in types.values()]
    unique = list(dict.fromkeys(models))
    names, schemas = models_json_schema(
        [(model, "validation") for model in unique], ref_template=f"{_SCHEMAS}{{model}}", schema_generator=_Untitled
    )
    refs = {model: names[model, "validation"]["$ref"].removeprefix(_SCHEMAS) for model in unique}
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    for spec in ALL_TOPICS:
        found = _messages(spec.name, refs)
        messages |= found
        channels[spec.name] = {
            "address": spec.name,
            "description": _about(spec.name),
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in found},
            "bindings": {"kafka": _binding(spec)},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sponsorship tracker",
            "version": "1",
            "description": "The topics, and what is in them. Written by `python -m deploy.asyncapi`, which refuses a "
            "change that would break a reader of what is there already.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"{group}.reads.{topic}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{topic}"},
                "summary": f"The {group} service reads {topic}.",
            }
            for group, topics in READS.items()
            for topic in topics
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def broken(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what of `new` would break a reader of what is there by `old`: messages and fields, with the reason."""
    was, is_now = old["components"], new["components"]
    found = [
        f"{channel}: {name} is gone, and records of it are there"
        for channel, said in old["channels"].items()
        for name in said["messages"]
        if name not in new["channels"].get(channel, {"messages": {}})["messages"]
    ]
    kept = sorted({_payload(message) for name, message in was["messages"].items() if name in is_now["messages"]} - {""})
    return found + breaks(was["schemas"], is_now["schemas"], kept)


def written(content: Mapping[str, Any]) -> str:
    """Return the document as YAML."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _members(union: Any) -> Sequence[type[BaseModel]]:
    return get_args(union) or (union,)


def _messages(topic: str, refs: Mapping[type[BaseModel], str]) -> dict[str, Any]:
    if topic in _CONTRACTS:
        return {
            f"{topic}.{refs[model]}": {
                "name": str(model.model_fields["type"].default) if "type" in model.model_fields else refs[model],
                "summary": _first_line(model),
                "payload": {"$ref": _SCHEMAS + refs[model]},
            }
            for model in _members(_CONTRACTS[topic])
        }
    feed = topic.removeprefix(FEED_PREFIX)
    if feed in SHAPES and topic == feed_topic(feed):
        return {
            event_type: {
                "name": event_type,
                "summary": _first_line(shape),
                "contentType": "application/cloudevents+json",
                "payload": {
                    "type": "object",
                    "required": ["specversion", "id", "source", "type", "subject", "data"],
                    "properties": {
                        "specversion": {"const": "1.0"},
                        **{name: {"type": "string", "minLength": 1} for name in ("id", "source", "subject")},
                        "type": {"const": event_type},
                        "time": {"type": "string", "format": "date-time"},
                        "data": {"$ref": _SCHEMAS + refs[shape]},
                    },
                },
            }
            for event_type, shape in SHAPES[feed].items()
        }
    return {}


def _payload(message: Mapping[str, Any]) -> str:
    payload = message["payload"]
    ref = payload.get("$ref") or payload["properties"]["data"]["$ref"]
    return str(ref).removeprefix(_SCHEMAS)


def _binding(spec: TopicSpec) -> dict[str, Any]:
    """Return where the topic is; how many partitions it has only where TOPIC_PARTITIONS does not say so."""
    return (
        {"topic": spec.name} if spec.partitions == PARTITIONS else {"topic": spec.name, "partitions": spec.partitions}
    )


def _about(topic: str) -> str:
    origin, _, kind = topic.rpartition(".")
    if kind == "dead":
        return (
            f"Records of {origin} that could not be dealt with, byte for byte; the headers dead-* say why and whence."
        )
    if kind == "parked":
        return f"Events of {origin} that wait for a person, as they came. Key: the ref of that person."
    if kind == "attributed":
        return f"Where each event of {origin} lies and whom it was taken to be about. Key: a ref that it uses."
    if topic == ATTRIBUTES:
        return "CloudEvents 1.0, as sent; compacted. Key: the subject, as its source names it: its newest event holds."
    if topic.startswith(FEED_PREFIX):
        return "CloudEvents 1.0, as sent. Key: the subject, as its source names it."
    return f"Key: {_KEYS[topic]}"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the document; exit 0, or 1 where that would break a reader."""
    parser = argparse.ArgumentParser(prog="python -m deploy.asyncapi", description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=DOCUMENT, help="where it is (docs/asyncapi.yaml)")
    parser.add_argument(
        "--breaking", action="store_true", help="write it though it breaks readers: nothing of the old is left anywhere"
    )
    asked = parser.parse_args(arguments)
    new = document()
    if asked.path.exists() and not asked.breaking:
        faults = broken(yaml.safe_load(asked.path.read_text()), new)
        if faults:
            print("\n".join(f"asyncapi: {fault}" for fault in faults), file=sys.stderr)
            print("asyncapi: not written; make the new optional, or keep the old beside it", file=sys.stderr)
            return 1
    asked.path.write_text(written(new))
    return 0


if __name__ == "__main__":
    sys.exit(main())
