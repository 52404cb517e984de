"""A delivery is let in if its raw body was signed with a secret of the source, lately, and for no other reason."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts.base import utc
from shared.sources.delivery import Delivery
from shared.sources.files import read_sources
from shared.sources.signatures import BadSignature, Hmac, Signature, Token
from shared.transport.webhooks import WebhookKey
from tests.source_payloads import FOLDER, workday

NOW = utc(2026, 3, 2, 9)
STAMP = str(int(NOW.timestamp()))
BODY = b'{"employees": [{"id": "1"}],  "n": 1.10}'
KEY = "9f86d081884c7d65"
SLACK_LIKE = Hmac(
    kind="hmac",
    header="X-Slack-Signature",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="X-Slack-Request-Timestamp",
)


def shipped(name: str) -> Any:
    return read_sources(FOLDER)[name].webhook.signature


def sha(algorithm: str, signed: bytes, key: str = KEY) -> bytes:
    return hmac.new(key.encode(), signed, algorithm).digest()


def bamboohr(body: bytes = BODY, key: str = KEY, stamp: str = STAMP) -> dict[str, str]:
    return {
        "x-bamboohr-timestamp": stamp,
        "x-bamboohr-signature": sha("sha256", body + stamp.encode(), key).hex(),
    }


SCHEMES: Mapping[str, tuple[Any, dict[str, str]]] = {
    "BambooHR: hex of the body, then the timestamp": (shipped("bamboohr"), bamboohr()),
    "BambooHR with an ISO timestamp": (shipped("bamboohr"), bamboohr(stamp="2026-03-02T09:00:30+0000")),
    "HiBob: base64 of SHA-512": (
        shipped("hibob"),
        {"bob-signature": base64.b64encode(sha("sha512", BODY)).decode()},
    ),
    "Merge: base64url": (
        shipped("merge"),
        {"x-merge-webhook-signature": base64.urlsafe_b64encode(sha("sha256", BODY)).decode()},
    ),
    "Merge without padding": (
        shipped("merge"),
        {"x-merge-webhook-signature": base64.urlsafe_b64encode(sha("sha256", BODY)).decode().rstrip("=")},
    ),
    "GitHub: sha256= and hex": (shipped("github"), {"x-hub-signature-256": "sha256=" + sha("sha256", BODY).hex()}),
    "Slack-like: v0 of version, timestamp and body": (
        SLACK_LIKE,
        {
            "x-slack-request-timestamp": STAMP,
            "x-slack-signature": "v0=" + sha("sha256", f"v0:{STAMP}:".encode() + BODY).hex(),
        },
    ),
    "Personio: the token in Authorization": (shipped("personio"), {"authorization": f"Bearer {KEY}"}),
}
LOGIN = "tracker:pass&word-of-16"
EVERY_SCHEME = pytest.mark.parametrize(("scheme", "headers"), SCHEMES.values(), ids=list(SCHEMES))


@EVERY_SCHEME
def test_what_the_holder_of_the_secret_sends_is_let_in(scheme: Any, headers: dict[str, str]) -> None:
    scheme.check([KEY], headers, BODY, NOW)


@EVERY_SCHEME
def test_both_secrets_are_valid_while_one_is_replaced_and_a_third_is_not(scheme: Any, headers: dict[str, str]) -> None:
    scheme.check(["the-next-secret-1", KEY], headers, BODY, NOW)
    scheme.check([KEY, "the-next-secret-1"], headers, BODY, NOW)
    with pytest.raises(BadSignature):
        scheme.check(["the-next-secret-1", "another-secret-12"], headers, BODY, NOW)


@EVERY_SCHEME
def test_a_missing_or_a_changed_header_is_refused(scheme: Any, headers: dict[str, str]) -> None:
    for name, value in headers.items():
        with pytest.raises(BadSignature, match="is missing"):
            scheme.check([KEY], {**headers, name: ""}, BODY, NOW)
        with pytest.raises(BadSignature):
            scheme.check([KEY], {**headers, name: value[:-1] + ("0" if value[-1] != "0" else "1")}, BODY, NOW)


@EVERY_SCHEME
def test_a_refusal_shows_neither_the_secret_nor_what_was_sent(scheme: Any, headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature) as refused:
        scheme.check(["another-secret-12"], headers, BODY, NOW)
    for hidden in (KEY, "another-secret-12", *headers.values()):
        assert hidden not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in SCHEMES if "token" not in name])
def test_another_body_is_refused_were_it_the_same_json(name: str) -> None:
    scheme, headers = SCHEMES[name]
    with pytest.raises(BadSignature, match="not that of this body"):
        scheme.check([KEY], headers, BODY.replace(b"1.10", b"1.1"), NOW)


@pytest.mark.parametrize("minutes", [-6, 6, 60 * 24 * 3])
def test_an_old_request_sent_again_is_refused_and_so_is_one_from_the_future(minutes: int) -> None:
    for name in ("BambooHR: hex of the body, then the timestamp", "Slack-like: v0 of version, timestamp and body"):
        scheme, headers = SCHEMES[name]
        scheme.check([KEY], headers, BODY, NOW + timedelta(minutes=4))
        with pytest.raises(BadSignature, match="an old request sent again, or a clock that is wrong"):
            scheme.check([KEY], headers, BODY, NOW + timedelta(minutes=minutes))


def test_a_timestamp_is_part_of_what_is_signed_so_a_fresh_one_does_not_help_an_old_request() -> None:
    later = NOW + timedelta(hours=2)
    with pytest.raises(BadSignature, match="not that of this body"):
        shipped("bamboohr").check(
            [KEY], {**bamboohr(), "x-bamboohr-timestamp": str(int(later.timestamp()))}, BODY, later
        )


def test_a_timestamp_that_is_none_is_refused() -> None:
    with pytest.raises(BadSignature, match="X-BambooHR-Timestamp: a time is neither"):
        shipped("bamboohr").check([KEY], bamboohr(stamp="yesterday"), BODY, NOW)


def test_standard_webhooks_are_checked_as_the_specifications_own_library_signs_them() -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    signed = {name.lower(): value for name, value in WebhookKey(secret).sign("msg_1", BODY, NOW).items()}
    scheme = shipped("lattice")
    scheme.check([secret], signed, BODY, NOW)
    # a sender that rotates its key sends two signatures, and versions that are not known
    two = {**signed, "webhook-signature": f"v1a,unknown v1,bm90IHRoaXM= {signed['webhook-signature']}"}
    scheme.check([secret], two, BODY, NOW)
    with pytest.raises(BadSignature):
        scheme.check([secret], {**signed, "webhook-id": "msg_2"}, BODY, NOW)
    with pytest.raises(BadSignature, match="begins with 'v1,'"):
        scheme.check([secret], {**signed, "webhook-signature": "v2,abc"}, BODY, NOW)
    with pytest.raises(ValueError, match="is not base64"):
        scheme.key("whsec_***")


def basic(login: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def test_basic_authentication_is_let_in_by_name_and_password_two_of_them_while_one_is_replaced() -> None:
    scheme = shipped("successfactors-events")
    scheme.check(["tracker:the-next-secret", LOGIN], basic(LOGIN), BODY, NOW)
    scheme.check([LOGIN], {"authorization": basic(LOGIN)["authorization"].replace("Basic", "basic")}, BODY, NOW)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ***",
        "Basic é",
        f"Bearer {LOGIN}",
        f"Basic {LOGIN}",
        *(basic(login)["authorization"] for login in ("", "tracker:", "other:" + LOGIN, LOGIN.upper(), LOGIN + " ")),
    ],
)
def test_any_other_login_is_refused(authorization: str) -> None:
    with pytest.raises(BadSignature) as refused:
        shipped("successfactors-events").check([LOGIN], {"authorization": authorization}, BODY, NOW)
    assert LOGIN.partition(":")[2] not in str(refused.value)


def test_a_login_in_the_body_is_found_whatever_its_namespace_is_called_and_is_not_kept() -> None:
    scheme = shipped("workday-events")
    body = workday(password="pass&amp;word-of-16")
    for sent in (body, body.replace(b"wsse", b"other-prefix"), body.replace(b"wsse:", b"")):
        scheme.check(["tracker:the-next-secret", LOGIN], {}, sent, NOW)
        kept = scheme.kept(sent)
        assert b"word-of-16" not in kept
        assert len(kept) == len(sent) - len("pass&amp;word-of-16")
        assert (
            Delivery("x", kept, {}, NOW).payload["Envelope"]["Body"]
            == Delivery("x", sent, {}, NOW).payload["Envelope"]["Body"]
        )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BODY,
        workday(password=""),
        workday(password="the-next-secret"),
        workday(password="pass&amp;word-of-16").replace(b"tracker</wsse:U", b"other</wsse:U"),
        workday(password="<![CDATA[pass&word-of-16]]>"),
        workday(password="pass&amp;word-of-16").decode().encode("utf-16"),
        b"<Password " * 100_000,
        b"<Username>" * 100_000,
    ],
)
def test_a_body_without_the_login_is_refused(body: bytes) -> None:
    with pytest.raises(BadSignature):
        shipped("workday-events").check([LOGIN], {}, body, NOW)


def test_a_login_is_a_name_and_a_password() -> None:
    for name in ("successfactors-events", "workday-events"):
        with pytest.raises(ValueError, match="user:password"):
            shipped(name).key(KEY)


def test_a_bare_token_without_its_prefix_is_refused() -> None:
    with pytest.raises(BadSignature, match="not known here"):
        Token(kind="token").check([KEY], {"authorization": KEY}, BODY, NOW)


@pytest.mark.parametrize("value", ["\x80\xff", "é" * 100, "=" * 64, "v1, v1, v1,"])
def test_nonsense_in_a_header_is_a_refusal_and_no_fault(value: str) -> None:
    for scheme, headers in SCHEMES.values():
        for name in headers:
            with pytest.raises(BadSignature):
                scheme.check([KEY], {**headers, name: value}, BODY, NOW)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"signed": "{timestamp}"}, "has {body}"),
        ({"signed": "{body}{nonce}"}, "has {body}"),
        ({"signed": "{body}{timestamp}"}, "timestamp_header and {timestamp} in signed belong together"),
        ({"timestamp_header": "X-Time"}, "timestamp_header and {timestamp} in signed belong together"),
        ({"header": "X Signature"}, "should match pattern"),
        ({"algorithm": "md5"}, "sha256"),
    ],
)
def test_a_scheme_that_protects_nothing_cannot_be_declared(declared: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Signature).validate_python({"kind": "hmac", "header": "X-Sig", **declared})
    assert told in str(refused.value)


def test_the_time_of_a_comparison_does_not_tell_how_much_of_it_was_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair of secret and signature is compared, by `compare_digest`, also once one was found right."""
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))  # type: ignore[func-returns-value]
    for scheme, headers in SCHEMES.values():
        compared.clear()
        scheme.check([KEY, "the-next-secret-1"], headers, BODY, NOW)
        assert len(compared) == 2
