"""What AWS says of a missing permission, in all its forms, and the statement that would give it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestctl.model.permission import Denial
from manifestctl.text import escape
from tests.support.actions import HOSTILE_TEXT
from tests.support.aws_identity import Denial as Refused
from tests.support.aws_identity import Form

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLE = "arn:aws:sts::123456789012:assumed-role/release/build-17"
WEB = "arn:aws:ecr-public::123456789012:repository/web"
PRIVATE = "arn:aws:ecr:eu-west-1:123456789012:repository/team/web"


def denial(text: str) -> Denial:
    found = Denial.parse(text)
    assert found is not None
    return found


def refused(form: Form, action: str = "ecr-public:PutImage", resource: str = WEB, *, explicit: bool = False) -> Denial:
    """Return what is read of IAM's words in one of their forms."""
    return denial(Refused(action, "*", explicit, form, "*").message(action, resource, ROLE))


POLICIES: Mapping[Form, str] = {
    "identity": "identity-based policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "scp": "service control policy",
    "resource": "resource-based policy",
}


@pytest.mark.parametrize("form", POLICIES)
@pytest.mark.parametrize("explicit", [False, True])
def test_who_lacks_what_and_which_policy_decided(form: Form, explicit: bool) -> None:
    assert refused(form, explicit=explicit) == Denial("ecr-public:PutImage", WEB, ROLE, POLICIES[form], explicit)


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("because no VPC endpoint policy allows the s3:GetObject action", "VPC endpoint policy"),
        ("because no resource control policy allows the s3:GetObject action", "resource control policy"),
        ("with an explicit deny in a VPC endpoint policy", "VPC endpoint policy"),
        (
            "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/x",
            "service control policy",
        ),
        ("with an explicit deny", "policy"),
        ("because of the weather", "identity-based policy"),
        ("", "identity-based policy"),
    ],
)
def test_more_kinds_of_policies(said: str, policy: str) -> None:
    found = denial(f"User: {ROLE} is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/x {said}")
    assert (found.policy, found.explicit) == (policy, "explicit" in said)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User: a is not authorized to perform: ecr-public:DescribeRepositories", ("a", "")),
        ("is not authorized to perform: ecr:PutImage on resource: *", ("", "*")),
        ("User: anonymous is not authorized to perform: ecr:PutImage on resource: web.", ("anonymous", "web")),
        ('User: a is not authorized to perform: ecr:PutImage on resource: "web"', ("a", "web")),
        ("<p>User: a is not authorized to perform: ecr:PutImage on resource: web</p>", ("a", "web")),
        ("denied: User: a is not authorized to perform: ecr:PutImage on resource: web with", ("a", "web")),
        ("User: b: User: a is not authorized to perform: ecr:PutImage on resource: web", ("a", "web")),
    ],
)
def test_what_is_left_out_or_stands_around_it(text: str, expected: tuple[str, str]) -> None:
    found = denial(text)
    assert (found.principal, found.resource, found.whole) == (*expected, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "requested access to the resource is denied",
        "Your Authorization Token is invalid.",
        "User: x is not authorized",
        "You are not authorized to perform this operation.",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        "is not authorized to perform: nothing",
        f"is not authorized to perform: {'a' * 65}:PutImage",
    ],
)
def test_what_names_no_permission(text: str) -> None:
    assert Denial.parse(text) is None


@pytest.mark.parametrize(
    "principal",
    [
        "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Push_0123456789abcdef/some.one@example.com",
        "arn:aws:sts::123456789012:assumed-role/r/a=b,c.d@e-f+g_h",
        "arn:aws-cn:iam::123456789012:user/path!/(of)/a~user",
        "arn:aws:sts::123456789012:federated-user/x",
    ],
)
def test_odd_principals(principal: str) -> None:
    text = f"User: {principal} is not authorized to perform: ecr:PutImage on resource: {PRIVATE} because"
    found = denial(text)
    assert found.principal == principal
    assert found.hint.startswith(f"{principal} lacks ecr:PutImage on {PRIVATE}; ")
    by_resource = denial(f"{text} no resource-based policy allows the ecr:PutImage action")
    assert json.loads(by_resource.statement)["Principal"] == {"AWS": principal}


def test_one_denial_does_not_take_the_reason_of_another() -> None:
    first = "User: a is not authorized to perform: ecr:PutImage on resource: web"
    second = "User: b is not authorized to perform: ecr:X on resource: web with an explicit deny in a session policy"
    assert denial(f"{first}; {second}") == Denial("ecr:PutImage", "web", "a")


# The statement.


def test_the_smallest_statement() -> None:
    found = refused("identity")
    assert found.statement == json.dumps({"Effect": "Allow", "Action": "ecr-public:PutImage", "Resource": WEB})
    assert found.hint.endswith(f"; add this statement to its IAM policy: {found.statement}")


def test_without_a_resource_it_is_for_all() -> None:
    found = denial("User: a is not authorized to perform: ecr:PutImage")
    assert json.loads(found.statement)["Resource"] == "*"
    assert found.hint.startswith("a lacks ecr:PutImage; ")
    assert denial("not authorized to perform: ecr:PutImage").hint.startswith("the caller lacks ecr:PutImage; ")


@pytest.mark.parametrize(
    ("form", "action", "expected"),
    [
        ("boundary", "ecr:PutImage", {"Resource": PRIVATE}),
        ("session", "ecr:PutImage", {"Resource": PRIVATE}),
        ("scp", "ecr:PutImage", {"Resource": PRIVATE}),
        ("resource", "ecr:PutImage", {"Principal": {"AWS": ROLE}}),
        ("resource", "ecr-public:PutImage", {"Principal": {"AWS": ROLE}}),
        ("resource", "kms:Decrypt", {"Principal": {"AWS": ROLE}, "Resource": PRIVATE}),
    ],
)
def test_the_statement_fits_the_policy_that_wants_it(form: Form, action: str, expected: dict[str, object]) -> None:
    found = refused(form, action, PRIVATE)
    assert json.loads(found.statement) == {"Effect": "Allow", "Action": action} | expected
    assert " must allow it too, as this statement does: {" in found.hint
    assert found.hint.endswith(found.statement)


@pytest.mark.parametrize(
    ("said", "expected", "place"),
    [
        (
            "s3:GetObject on resource: arn:aws:s3:::b/x because no VPC endpoint policy allows the s3:GetObject action",
            {"Principal": "*", "Resource": "arn:aws:s3:::b/x"},
            "the policy of the VPC endpoint in between",
        ),
        (
            "sts:AssumeRole on resource: arn:aws:iam::1:role/r because no role trust policy allows the sts:AssumeRole action",
            {"Principal": {"AWS": ROLE}},
            "the trust policy of that role",
        ),
        (
            "ecr:PutImage on resource: web because no new-fangled policy allows the ecr:PutImage action",
            {"Resource": "web"},
            "its new-fangled policy",
        ),
    ],
)
def test_policies_with_ways_of_their_own(said: str, expected: dict[str, object], place: str) -> None:
    found = denial(f"User: {ROLE} is not authorized to perform: {said}")
    action = said.partition(" ")[0]
    assert json.loads(found.statement) == {"Effect": "Allow", "Action": action} | expected
    assert f"; {place} must allow it too" in found.hint


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("identity", "an identity-based policy forbids it explicitly"),
        ("scp", "a service control policy forbids it explicitly"),
        ("bare", "a policy forbids it explicitly"),
    ],
)
def test_nothing_allows_what_is_forbidden_explicitly(form: Form, words: str) -> None:
    found = refused(form, explicit=True)
    assert found.statement == ""
    assert words in found.hint
    assert "no statement elsewhere can allow it" in found.hint
    assert "{" not in found.hint


@pytest.mark.parametrize("action", ["ecr-public:PutImage", "ecr:PutImage", "sts:GetServiceBearerToken"])
def test_the_two_services_are_not_one(action: str) -> None:
    found = refused("identity", action)
    assert ("permissions that begin with 'ecr:' are for another service" in found.hint) is (
        found.service == "ecr-public"
    )


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:ecr:eu-west-1:1:repository\\/web",
        "##[error]web",
        "web\x1b[2J",
        "wéb",
        'we"b',
        '"',
        "a" * 2049,
    ],
)
def test_a_resource_that_cannot_be_pasted_gives_no_statement(resource: str) -> None:
    found = denial(f"User: {ROLE} is not authorized to perform: ecr:PutImage on resource: {resource}")
    assert (found.whole, found.resource, found.statement) == (False, "", "")
    assert found.hint == f"{ROLE} lacks ecr:PutImage; its IAM policy must allow it."


@pytest.mark.parametrize("form", ["resource", "session"])
def test_a_principal_that_cannot_be_pasted(form: Form) -> None:
    text = Refused("ecr:PutImage", "*", False, form, "*").message("ecr:PutImage", "web", "##[error]\x1b[2J")
    found = denial(text)
    assert (found.statement == "") is (form == "resource")
    assert "##[" not in found.hint
    assert found.hint.isprintable()


def test_long_names_are_whole_in_the_statement_and_short_before_it() -> None:
    resource = f"arn:aws:ecr:eu-west-1:123456789012:repository/{'a' * 1900}"
    found = denial(f"User: {'u' * 2000} is not authorized to perform: ecr:PutImage on resource: {resource} because")
    assert json.loads(found.statement)["Resource"] == resource
    assert len(found.hint.removesuffix(found.statement)) < 750


@given(st.text(max_size=200), st.text(max_size=200))
def test_whatever_is_said_can_be_printed(principal: str, resource: str) -> None:
    found = Denial.parse(f"User: {principal} is not authorized to perform: ecr:PutImage on resource: {resource}")
    assert found is not None
    for text in (found.hint, found.statement, found.principal, found.resource):
        assert escape(text, 100_000) == text
    if found.statement:
        json.loads(found.statement)


def test_hostile_words() -> None:
    found = denial(f"{HOSTILE_TEXT} is not authorized to perform: ecr:PutImage on resource: {HOSTILE_TEXT}")
    assert found.hint.isprintable()
    assert len(found.hint.splitlines()) == 1
