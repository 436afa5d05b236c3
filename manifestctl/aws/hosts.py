"""Which registry hosts are Amazon's, and which API stands behind each: `ecr_host`."""

from __future__ import annotations

import re
from typing import Literal

from manifestctl.transport.profiles import ECR_PUBLIC_HOSTS, private_ecr
from manifestctl.values import dataclass

Service = Literal["ecr-public", "ecr"]

PUBLIC_REGION = "us-east-1"
"""Where ECR Public is asked, wherever the caller is: "always authenticate to the us-east-1 Region"."""
PUBLIC_HOST = ECR_PUBLIC_HOSTS[0]
HOSTS = (
    f"The hosts of Amazon ECR are {PUBLIC_HOST} and ACCOUNT.dkr.ecr.REGION.amazonaws.com; a private one begins with "
    "the 12 digits of its account, and has no port."
)
"""What to tell somebody who wrote a host that only looks like one of Amazon's."""


@dataclass(frozen=True, slots=True)
class EcrHost:
    """A registry of Amazon's.

    ``host`` is the registry as in references, ``region`` the one whose API gives its tokens, ``account`` the twelve
    digits in the name of a private registry. ``fips`` and ``dual_stack`` say that the name is of such an endpoint.
    """

    host: str
    service: Service
    region: str
    account: str = ""
    fips: bool = False
    dual_stack: bool = False

    @property
    def is_public(self) -> bool:
        """Tell whether it is ECR Public."""
        return self.service == "ecr-public"


def ecr_host(registry: str) -> EcrHost | None:
    """Return what stands behind a registry (``host[:port]``, as in references); None if it is not Amazon's."""
    host = registry.lower()
    if host in ECR_PUBLIC_HOSTS:
        # Its second name is the dual-stack one: whoever needs that cannot reach an API that has IPv4 alone.
        return EcrHost(host, "ecr-public", PUBLIC_REGION, dual_stack=host != PUBLIC_HOST)
    found = private_ecr(host)
    if found is None:
        return None
    return EcrHost(host, "ecr", found.region, found.account, found.fips, found.dual_stack)


def looks_like_ecr(registry: str) -> bool:
    """Tell whether a registry is written as one of Amazon's, but is none that is known: it may be misspelt."""
    name = registry.lower()
    return ecr_host(name) is None and "aws" in name and "ecr" in re.split("[.-]", name)
