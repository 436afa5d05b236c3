"""manifestctl publishes multi-architecture container images safely.

The library is what the command line is made of. A run needs a `Runtime` (clocks, environment, an observer) and `Stores`
(which open registries and OCI layouts); the verbs do the rest and return values::

    import os

    from manifestctl import CheckRequest, CreateRequest, Runtime, Stores, create, image_requests, parse_location

    runtime = Runtime.of_system(os.environ)
    target = parse_location("registry.example.com/team/web:1.4")
    request = CreateRequest(CheckRequest(target, image_requests(target, [":1.4-amd64", ":1.4-arm64"])))
    with Stores.of_system(runtime) as stores:
        created = create(request, stores, runtime)
    print(created.status, created.exit_code)

Nothing here prints, exits or reads the environment by itself. What is not in ``__all__`` may change at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifestctl.aws.catalog import Catalog
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.aws.repository_settings import PrivateOptions
    from manifestctl.aws.settings import AwsSettings
    from manifestctl.errors import ManifestctlError
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location, parse_location
    from manifestctl.model.platforms import Platform
    from manifestctl.model.reference import Reference
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import LocalImage, OpenStore, Store
    from manifestctl.stores.locate import Stores
    from manifestctl.transport.settings import TransportSettings
    from manifestctl.validation import Validation, validate
    from manifestctl.verbs.check import Checked, CheckRequest, check, image_requests
    from manifestctl.verbs.checks import Requirements
    from manifestctl.verbs.compose import Wording
    from manifestctl.verbs.copy import Copied, CopyRequest, copy
    from manifestctl.verbs.create import Created, CreateRequest, create
    from manifestctl.verbs.doctor import Diagnosis, DoctorRequest, doctor
    from manifestctl.verbs.images import local_images
    from manifestctl.verbs.inspect import Inspected, inspect
    from manifestctl.verbs.login import LoggedIn, LoginRequest, login
    from manifestctl.verbs.logout import LoggedOut, logout
    from manifestctl.verbs.publish import Guard
    from manifestctl.verbs.push import push
    from manifestctl.verbs.push_request import Packing, Pushed, PushRequest
    from manifestctl.verbs.repository import RepositoryRequest, change_catalog, create_repository, describe_repository
    from manifestctl.verbs.rules import Policy
    from manifestctl.verbs.tag import Retagged, TagRequest, tag
    from manifestctl.verbs.tags import Tagged, list_tags

__version__ = "0.1.0"

# Imported when first asked for: `manifestctl --version` must not pay for HTTP.
_HOMES = {
    "AwsSettings": "aws.settings",
    "Catalog": "aws.catalog",
    "CheckRequest": "verbs.check",
    "Checked": "verbs.check",
    "Copied": "verbs.copy",
    "CopyRequest": "verbs.copy",
    "CreateRequest": "verbs.create",
    "Created": "verbs.create",
    "Descriptor": "model.descriptor",
    "Diagnosis": "verbs.doctor",
    "Digest": "model.digest",
    "DoctorRequest": "verbs.doctor",
    "Finding": "model.finding",
    "Guard": "verbs.publish",
    "Inspected": "verbs.inspect",
    "LocalImage": "stores.base",
    "Location": "model.location",
    "LoggedIn": "verbs.login",
    "LoggedOut": "verbs.logout",
    "LoginRequest": "verbs.login",
    "ManifestctlError": "errors",
    "OpenStore": "stores.base",
    "Packing": "verbs.push_request",
    "Platform": "model.platforms",
    "Policy": "verbs.rules",
    "PrivateOptions": "aws.repository_settings",
    "PushRequest": "verbs.push_request",
    "Pushed": "verbs.push_request",
    "Reference": "model.reference",
    "RepositoryName": "aws.repository_names",
    "RepositoryRequest": "verbs.repository",
    "Requirements": "verbs.checks",
    "Retagged": "verbs.tag",
    "Runtime": "runtime",
    "Store": "stores.base",
    "Stores": "stores.locate",
    "TagRequest": "verbs.tag",
    "Tagged": "verbs.tags",
    "TransportSettings": "transport.settings",
    "Validation": "validation",
    "Wording": "verbs.compose",
    "change_catalog": "verbs.repository",
    "check": "verbs.check",
    "copy": "verbs.copy",
    "create": "verbs.create",
    "create_repository": "verbs.repository",
    "describe_repository": "verbs.repository",
    "doctor": "verbs.doctor",
    "image_requests": "verbs.check",
    "inspect": "verbs.inspect",
    "list_tags": "verbs.tags",
    "local_images": "verbs.images",
    "login": "verbs.login",
    "logout": "verbs.logout",
    "parse_location": "model.location",
    "push": "verbs.push",
    "tag": "verbs.tag",
    "validate": "validation",
}

__all__ = [
    "AwsSettings",
    "Catalog",
    "CheckRequest",
    "Checked",
    "Copied",
    "CopyRequest",
    "CreateRequest",
    "Created",
    "Descriptor",
    "Diagnosis",
    "Digest",
    "DoctorRequest",
    "Finding",
    "Guard",
    "Inspected",
    "LocalImage",
    "Location",
    "LoggedIn",
    "LoggedOut",
    "LoginRequest",
    "ManifestctlError",
    "OpenStore",
    "Packing",
    "Platform",
    "Policy",
    "PrivateOptions",
    "PushRequest",
    "Pushed",
    "Reference",
    "RepositoryName",
    "RepositoryRequest",
    "Requirements",
    "Retagged",
    "Runtime",
    "Store",
    "Stores",
    "TagRequest",
    "Tagged",
    "TransportSettings",
    "Validation",
    "Wording",
    "__version__",
    "change_catalog",
    "check",
    "copy",
    "create",
    "create_repository",
    "describe_repository",
    "doctor",
    "image_requests",
    "inspect",
    "list_tags",
    "local_images",
    "login",
    "logout",
    "parse_location",
    "push",
    "tag",
    "validate",
]


def __getattr__(name: str) -> object:
    """Import a public name from its room."""
    if name not in _HOMES:
        raise AttributeError(f"module 'manifestctl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"manifestctl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
