"""What the user said about AWS: `AwsSettings`."""

from __future__ import annotations

from typing import Literal

from manifestctl.values import dataclass

Use = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """How and when AWS's APIs are used.

    ``use``: at registries of Amazon's, AWS credentials are asked after Docker's and Podman's files (``auto``), instead
    of them (``always``), or not at all (``never``). ``profile`` is the name of a profile, empty for boto3's choice.
    ``token_cache``: whether tokens are kept between runs. ``create_repositories``: whether a repository that is to be
    written and is missing is made.
    """

    use: Use = "auto"
    profile: str = ""
    token_cache: bool = True
    create_repositories: bool = False
