"""Says which attributes are taken of users and groups, what the provider can do, and how much it lets pass.

What is not taken is neither kept nor answered: an identity system knows phone numbers and addresses of the home, and no
decision here needs them (rule 7 of the design). So `User` has fewer attributes than RFC 7643 gives it, which a provider
may choose, and `/Schemas` says which.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field
from scim2_models import (
    URN,
    AnyExtension,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Extension,
    Filter,
    Group,
    Mutability,
    Patch,
    Required,
    Resource,
    ResourceType,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
LARGEST_PAGE: Final = 200
"""Resources of a page, however many were asked for."""

Kind = Literal["User", "Group"]


def _address(value: str | None) -> str | None:
    if value and "@" not in value:
        raise ValueError("is no email address; send one as ann@example.com, or leave it out")
    return value


def _timezone(value: str | None) -> str | None:
    if value and value not in available_timezones():
        raise ValueError("is no IANA time zone; send one as Europe/Berlin, or leave it out")
    return value


def _manager(value: Any) -> Any:
    """Entra ID sends a manager as the bare id, or in a list of one; RFC 7643 has an object with `value`."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return {"value": value} if value else None
    return value


_Short = Annotated[str | None, Field(max_length=200)]


class Name(ComplexAttribute):
    """A user's name."""

    formatted: _Short = None
    family_name: _Short = None
    given_name: _Short = None


class Email(ComplexAttribute):
    """An address of a user."""

    value: Annotated[str | None, Field(max_length=320), AfterValidator(_address)] = None
    type: _Short = None
    primary: bool | None = None


class Address(ComplexAttribute):
    """A place of a user."""

    type: _Short = None
    locality: _Short = None
    country: _Short = None
    primary: bool | None = None


class User(Resource[AnyExtension]):
    """Somebody who may sign in."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Field(max_length=320), Uniqueness.server, Required.true] = None
    name: Name | None = None
    display_name: _Short = None
    title: _Short = None
    user_type: _Short = None
    timezone: Annotated[str | None, AfterValidator(_timezone)] = None
    preferred_language: Annotated[str | None, Field(max_length=100)] = None
    active: bool | None = None
    emails: list[Email] | None = None
    addresses: list[Address] | None = None


class Manager(ComplexAttribute):
    """Whom a user reports to."""

    value: Annotated[str | None, Field(max_length=320), CaseExact.true] = None
    display_name: Annotated[str | None, Mutability.read_only] = None


class EnterpriseUser(Extension):
    """What is said of a user as an employee."""

    __schema__ = URN(ENTERPRISE)

    employee_number: _Short = None
    department: _Short = None
    division: _Short = None
    organization: _Short = None
    manager: Annotated[Manager | None, BeforeValidator(_manager)] = None


Employee = User[EnterpriseUser]

PROVIDER: Final = ScimProvider(
    [User, EnterpriseUser, Group],
    [ResourceType.from_resource(Employee), ResourceType.from_resource(Group)],
    ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=LARGEST_PAGE),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Bearer token",
                description="A token of SCIM_TOKENS, as Authorization: Bearer",
                primary=True,
            )
        ],
    ),
    # As Entra ID speaks: attributes that are not taken, `remove` with a value, and a new entry by a path that has a
    # filter (`emails[type eq "work"].value`).
    ScimPolicy(
        unknown=ScimPolicy.Unknown.ignore,
        remove_value_as_filter=ScimPolicy.RemoveValue.apply,
        unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
    ),
)


def read_resource(kind: Kind, content: Any) -> Resource[Any]:
    """Return the resource that `write_resource` wrote.

    Raises:
        pydantic.ValidationError: it is none.
    """
    model: type[Resource[Any]] = Employee if kind == "User" else Group
    with PROVIDER:
        return model.model_validate(content)


def write_resource(resource: Resource[Any]) -> dict[str, Any]:
    """Return the resource as JSON has it."""
    with PROVIDER:
        return dict(resource.model_dump())
