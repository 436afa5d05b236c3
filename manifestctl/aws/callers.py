"""Who AWS takes us for, and which names of ECR Public are ours: `caller`, `aliases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.aws.calls import Endpoint
from manifestctl.aws.tokens import endpoint_of
from manifestctl.text import outside
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.aws.calls import Aws
    from manifestctl.aws.hosts import EcrHost

ASKING = "asking AWS whose the credentials are"
"""What messages of `caller` begin with."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal and the account that credentials belong to, as AWS names them; safe to print."""

    arn: str
    account: str


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of a public registry: what follows the host in its repositories' names. ``active``: it can be used."""

    name: str
    active: bool


def caller(host: EcrHost, aws: Aws) -> Caller:
    """Ask who we are, by ``GetCallerIdentity`` in the region of a registry, and so in its partition.

    Raises as `Aws.call` does.
    """
    # No permission is needed for it. That there is a dual-stack endpoint everywhere is not documented.
    endpoint = Endpoint("sts", host.region, fips=host.fips)
    answer = aws.call(endpoint, "get_caller_identity", doing=ASKING) or {}
    return Caller(*(outside(str(answer.get(name, "")), 300) for name in ("Arn", "Account")))


def aliases(host: EcrHost, aws: Aws) -> list[Alias]:
    """List the aliases of our registry in ECR Public. Raises as `Aws.call` does."""
    doing = "listing this account's aliases in ECR Public"
    answer = aws.call(endpoint_of(host), "describe_registries", doing=doing) or {}
    # There is one registry for an account.
    return [
        Alias(outside(str(alias.get("name", "")), 60), alias.get("status") == "ACTIVE")
        for registry in answer.get("registries", ())
        for alias in registry.get("aliases", ())
    ]
