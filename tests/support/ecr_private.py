"""Amazon ECR (private) before a registry: Basic on every request, immutable tags, mounts that depend."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.support.aws import REGION
from tests.support.aws_tokens import USER
from tests.support.ecr_common import EcrFront, Place, token_refusal
from tests.support.http_message import Response, registry_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws_tokens import IssuedToken
    from tests.support.http_message import Request

_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.aws"
    r"|on\.amazonwebservices\.com\.cn)"
)


def hosts_of(account: str, region: str = REGION) -> tuple[str, ...]:
    """Return the host names of a private registry: the usual one, FIPS, both dual-stack, and where its blobs are."""
    return (
        f"{account}.dkr.ecr.{region}.amazonaws.com",
        f"{account}.dkr.ecr-fips.{region}.amazonaws.com",
        f"{account}.dkr-ecr.{region}.on.aws",
        f"{account}.dkr-ecr-fips.{region}.on.aws",
        storage_of(region),
    )


def storage_of(region: str) -> str:
    """Return the host from which blobs of a region are read."""
    return f"prod-{region}-starport-layer-bucket.s3.{region}.amazonaws.com"


class EcrPrivateFront(EcrFront):
    """ECR. Account and region are those in the host name; the first account's and eu-west-1 under another name.

    ``blob_mounting`` is the account setting. A blob is mounted only if a manifest of the source names it.
    """

    service = "ecr"
    storage_host = re.compile(r"prod-[a-z0-9-]+-starport-layer-bucket\.s3\.[a-z0-9-]+\.amazonaws\.com")

    blob_mounting = True

    def authorize(self, request: Request) -> Response | None:
        """Want the password of a token with every request."""
        if not request.path.startswith("/v2") or self.from_storage(request):
            return None
        if "authorization" not in request.headers:
            challenge = f'Basic realm="{self.origin(request)}/",service="ecr.amazonaws.com"'
            headers = {"WWW-Authenticate": challenge, "Content-Type": "text/plain; charset=utf-8"}
            return Response(401, b"Not Authorized\n", headers)
        user, password = request.basic or ("", "")
        return token_refusal(self.aws.lookup("ecr", password=password)[0] if user == USER else "unknown")

    def holder(self, request: Request) -> IssuedToken | None:
        """Return the token of a request."""
        return self.aws.lookup("ecr", password=(request.basic or ("", ""))[1])[1]

    def place(self, request: Request, name: str) -> Place:
        """Find a repository of the host's account and region."""
        account, region = self._where(request)
        arn = f"arn:aws:ecr:{region}:{account}:repository/{name}"
        return Place(name, name, account, account, arn, name, self.aws.private.find(name, account, region))

    def reading_action(self, request: Request, route: re.Match[str]) -> str | None:
        """Every read needs a permission."""
        if route["reference"]:
            return "BatchGetImage"
        if route["digest"]:
            return "BatchCheckLayerAvailability" if request.method == "HEAD" else "GetDownloadUrlForLayer"
        return "ListImages" if route["tags"] else None

    def refused_tag(self, place: Place, tag: str) -> Response | None:
        """Refuse to put an immutable tag again, even with the same content."""
        repository = self.aws.private.repositories.get((place.account, place.arn.split(":")[3], place.name))
        if repository is None or not repository.immutable(tag):
            return None
        if not self.backend.has(place.backend, f"manifests/{tag}"):
            return None
        text = (
            f"The image tag '{tag}' already exists in the '{place.name}' repository and cannot be overwritten because"
            " the repository is immutable."
        )
        return registry_error(400, "TAG_INVALID", text)

    def mount(self, request: Request, place: Place) -> Response | None:
        """Mount a blob that a manifest of the source repository names, if the account has that switched on."""
        source, digest = request.parameter("from") or "", request.parameter("mount") or ""
        account, region = self._where(request)
        if not self.blob_mounting or self.aws.private.find(source, account, region) is None:
            return None
        if digest not in self._named_in(source):
            return None
        path = self.backend.path(place.backend, "blobs/uploads/")
        answer = self.backend.request("POST", f"{path}?mount={digest}&from={self.backend.prefix}{source}")
        assert answer.status == 201, f"the backend answered {answer.status}"
        headers = {
            "Location": f"{self.origin(request)}/v2/{place.name}/blobs/{digest}",
            "Docker-Content-Digest": digest,
        }
        return Response(201, b"", headers)

    def storage(self, request: Request) -> str | None:
        """Blobs are read from S3."""
        found = _HOST.fullmatch(request.headers.get("host", ""))
        return storage_of(found["region"]) if found else None

    def _where(self, request: Request) -> tuple[str, str]:
        found = _HOST.fullmatch(request.headers.get("host", ""))
        return (found["account"], found["region"]) if found else (self.aws.account, REGION)

    def _named_in(self, repository: str) -> set[str]:
        """Return the digests of all blobs that the tagged manifests of a repository, and their children, name."""
        references = [*self.backend.tags(repository), *self._known(repository)]
        return {digest for reference in references for digest in self._blobs_of(repository, reference)}

    def _known(self, repository: str) -> list[str]:
        held = [found for key, found in self.aws.private.repositories.items() if key[2] == repository]
        return [digest for found in held for digest in found.images]

    def _blobs_of(self, repository: str, reference: str) -> Iterator[str]:
        document: Any = self.backend.manifest(repository, reference) or {}
        for entry in [document.get("config"), *document.get("layers", [])]:
            if entry:
                yield entry["digest"]
        for child in document.get("manifests", []):
            yield from self._blobs_of(repository, child["digest"])
