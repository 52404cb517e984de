"""Makes the OpenAPI document of /scim/v2, from the models; the protocol itself is RFC 7644's."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from scim2_models import Error, Group, ResourceType, Schema, ServiceProviderConfig

from services.scim.schema import ENTERPRISE, LARGEST_PAGE, Employee

_SCIM_JSON: Final = "application/scim+json"
_REFS: Final = "#/components/schemas/"
_KINDS: Final = {"User": "/Users", "Group": "/Groups"}
_EXAMPLES: Final[dict[str, Any]] = {
    "User": {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "userName": "ann@example.com",
        "externalId": "ann",
        "name": {"givenName": "Ann", "familyName": "Lee"},
        "displayName": "Ann Lee",
        "title": "Engineer",
        "active": True,
        "emails": [{"type": "work", "value": "ann@example.com", "primary": True}],
        ENTERPRISE: {"employeeNumber": "E00017", "department": "Payments"},
    },
    "Group": {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Engineers"},
}
_PATCH: Final = {
    "type": "object",
    "required": ["schemas", "Operations"],
    "properties": {
        "schemas": {"const": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]},
        "Operations": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["op"],
                "properties": {
                    "op": {"enum": ["add", "remove", "replace", "Add", "Remove", "Replace"]},
                    "path": {"type": "string"},
                    "value": {},
                },
            },
        },
    },
    "example": {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "active", "value": False}],
    },
}
_SEARCH: Final = {
    "type": "object",
    "required": ["schemas"],
    "properties": {
        "schemas": {"const": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]},
        "filter": {"type": "string"},
        "sortBy": {"type": "string"},
        "sortOrder": {"enum": ["ascending", "descending"]},
        "startIndex": {"type": "integer"},
        "count": {"type": "integer"},
        "attributes": {"type": "array", "items": {"type": "string"}},
        "excludedAttributes": {"type": "array", "items": {"type": "string"}},
    },
    "example": {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": 'userName eq "ann@example.com"',
    },
}
_QUERY: Final = (
    ("filter", {"type": "string"}, 'as userName eq "ann@example.com" (RFC 7644, section 3.4.2.2)'),
    ("sortBy", {"type": "string"}, "attribute to sort by"),
    ("sortOrder", {"enum": ["ascending", "descending"]}, "ascending where it is left out"),
    ("startIndex", {"type": "integer"}, "first resource of the page, counted from 1"),
    ("count", {"type": "integer"}, f"resources of a page, {LARGEST_PAGE} at most"),
)
_PROJECTION: Final = (
    ("attributes", {"type": "string"}, "only these, separated by commas"),
    ("excludedAttributes", {"type": "string"}, "all but these, separated by commas"),
)


class _Untitled(GenerateJsonSchema):
    """pydantic would give each field its own name as a title."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - as it is overridden
        return False


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    models: dict[str, type[BaseModel]] = {
        "User": Employee,
        "Group": Group,
        "Error": Error,
        "ResourceType": ResourceType,
        "Schema": Schema,
        "ServiceProviderConfig": ServiceProviderConfig,
    }
    names, schemas = models_json_schema(
        [(model, "serialization") for model in models.values()],
        ref_template=_REFS + "{model}",
        schema_generator=_Untitled,
    )
    found = schemas["$defs"]
    for name, model in models.items():
        found.setdefault(name, names[model, "serialization"])
    found |= {f"ListOf{name}": _list(name) for name in ("User", "Group", "ResourceType", "Schema")}
    found |= {"PatchOp": _PATCH, "SearchRequest": _SEARCH}
    paths: dict[str, Any] = {}
    for kind, endpoint in _KINDS.items():
        paths |= _resource_paths(kind, endpoint)
    paths |= {
        "/ServiceProviderConfig": {"get": _get("ServiceProviderConfig", "what the provider can do", secured=False)},
        "/ResourceTypes": {"get": _get("ListOfResourceType", "the kinds of resources")},
        "/ResourceTypes/{id}": {"parameters": [_id()], "get": _get("ResourceType", "one of them", 404)},
        "/Schemas": {"get": _get("ListOfSchema", "the attributes that are taken")},
        "/Schemas/{id}": {"parameters": [_id()], "get": _get("Schema", "those of one schema", 404)},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sponsorship tracker: SCIM 2.0",
            "version": "1",
            "description": "Users and groups as RFC 7643 and 7644 have them. Attributes that are not listed are let "
            "pass and not kept. Bulk, /Me and passwords are not supported.",
        },
        "servers": [{"url": "/scim/v2"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": found,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "a token of SCIM_TOKENS"}
            },
        },
    }


def _resource_paths(kind: str, endpoint: str) -> dict[str, Any]:
    plural = endpoint.strip("/").lower()
    return {
        endpoint: {
            "get": {
                "summary": f"Find {plural}",
                "parameters": [_parameter(*one) for one in (*_QUERY, *_PROJECTION)],
                "responses": _responses({200: f"ListOf{kind}"}),
            },
            "post": {
                "summary": f"Create a {kind.lower()}",
                "requestBody": _body(kind, _EXAMPLES[kind]),
                "responses": _responses({201: kind}, 409, 413, 415),
            },
        },
        f"{endpoint}/.search": {
            "post": {
                "summary": f"Find {plural}, with what is asked in the body",
                "requestBody": _body("SearchRequest"),
                "responses": _responses({200: f"ListOf{kind}"}, 413, 415),
            }
        },
        f"{endpoint}/{{id}}": {
            "parameters": [_id()],
            "get": {
                "summary": f"Read a {kind.lower()}",
                "parameters": [_parameter(*one) for one in _PROJECTION],
                "responses": _responses({200: kind, 304: None}, 404, 412),
            },
            "put": {
                "summary": f"Replace a {kind.lower()}",
                "parameters": [_parameter(*one) for one in _PROJECTION],
                "requestBody": _body(kind, _EXAMPLES[kind]),
                "responses": _responses({200: kind}, 404, 409, 412, 413, 415),
            },
            "patch": {
                "summary": f"Change a {kind.lower()}",
                "description": "204; 200 with the resource where `attributes` are asked for.",
                "parameters": [_parameter(*one) for one in _PROJECTION],
                "requestBody": _body("PatchOp"),
                "responses": _responses({200: kind, 204: None}, 404, 409, 412, 413, 415),
            },
            "delete": {
                "summary": f"Remove a {kind.lower()}",
                "responses": _responses({204: None}, 404, 412),
            },
        },
    }


def _get(schema: str, about: str, *errors: int, secured: bool = True) -> dict[str, Any]:
    said = {"summary": f"Read {about}", "responses": _responses({200: schema}, 403, *errors, secured=secured)}
    return said if secured else {**said, "security": []}


def _responses(answers: dict[int, str | None], *errors: int, secured: bool = True) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for status, schema in answers.items():
        content = {_SCIM_JSON: {"schema": {"$ref": _REFS + schema}}} if schema else None
        said[str(status)] = {"description": "done", **({"content": content} if content else {})}
    always = (400, 401, 408, 413, 503) if secured else (400, 408, 413, 503)
    for status in sorted({*always, *errors}):
        said[str(status)] = {
            "description": "not done; the error says why",
            "content": {_SCIM_JSON: {"schema": {"$ref": _REFS + "Error"}}},
        }
    return said


def _list(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["schemas", "totalResults"],
        "properties": {
            "schemas": {"const": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]},
            "totalResults": {"type": "integer", "minimum": 0},
            "startIndex": {"type": "integer", "minimum": 1},
            "itemsPerPage": {"type": "integer", "minimum": 0},
            "Resources": {"type": "array", "items": {"$ref": _REFS + kind}},
        },
    }


def _body(schema: str, example: Any = None) -> dict[str, Any]:
    content = {"schema": {"$ref": _REFS + schema}, **({"example": example} if example else {})}
    return {"required": True, "content": {_SCIM_JSON: content, "application/json": content}}


def _parameter(name: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


def _id() -> dict[str, Any]:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
