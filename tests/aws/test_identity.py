"""The key of an identity changes with all that names somebody, and with nothing that is secret."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from manifestctl.aws.identity import configuration_files, identity_key

KEY = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}


def key(environ: dict[str, str], profile: str = "", machine: str = "runner-1") -> str:
    return identity_key(environ, profile, machine)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_ECR",
        "AWS_ENDPOINT_URL_ECR_PUBLIC",
        "AWS_ENDPOINT_URL_STS",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CREDENTIAL_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "BOTO_CONFIG",
    ],
)
def test_what_names_somebody_counts(name: str) -> None:
    keys = {key({}), key({name: "one"}), key({name: "two"})}
    assert len(keys) == 3
    assert key({name: "one"}) in keys
    assert key({name: ""}) == key({})


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_MAX_ATTEMPTS",
        "AWS_USE_FIPS_ENDPOINT",
        "PATH",
    ],
)
def test_secrets_and_what_names_nobody_do_not(name: str) -> None:
    assert key({name: "one", **KEY}) == key({name: "two", **KEY}) == key(KEY)


def test_a_profile_that_is_named_is_not_the_one_of_the_environment() -> None:
    assert len({key({}), key({}, "release"), key({"AWS_PROFILE": "release"}), key({}, "other")}) == 4


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_the_state_of_a_file_counts_and_its_content_does_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    environ = {name: str(path)}
    keys = [key(environ)]
    path.write_text("one")
    os.utime(path, ns=(10**18, 10**18))
    keys.append(key(environ))
    path.write_text("two")
    os.utime(path, ns=(10**18, 10**18))
    assert key(environ) == keys[-1]
    os.utime(path, ns=(10**18, 10**18 + 1))
    keys.append(key(environ))
    path.write_text("three")
    os.utime(path, ns=(10**18, 10**18 + 1))
    keys.append(key(environ))
    other = tmp_path / "other"
    other.write_text("three")
    os.utime(other, ns=(10**18, 10**18 + 1))
    other.replace(path)
    keys.append(key(environ))
    assert len(set(keys)) == 5


@pytest.mark.parametrize("below", [".aws/config", ".aws/credentials", ".boto"])
def test_files_are_looked_for_in_the_home(tmp_path: Path, below: str) -> None:
    environ = {"HOME": str(tmp_path)}
    before = key(environ)
    path = tmp_path / below
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert key(environ) != before
    assert key({}) != before


FILLED = ("/d/e/$NONE/$/c", "$D/.aws/credentials", "$D/b")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("/etc/boto.cfg",)),
        ({"HOME": "/h"}, ("/h/.aws/config", "/h/.aws/credentials", "/etc/boto.cfg", "/h/.boto")),
        ({"HOME": "/h", "AWS_CONFIG_FILE": "~/c", "BOTO_CONFIG": "/b"}, ("/h/c", "/h/.aws/credentials", "/b")),
        ({"AWS_CONFIG_FILE": "~/c"}, ("~/c", "/etc/boto.cfg")),
        ({"AWS_CONFIG_FILE": "~nobody-has-this-name/c"}, ("~nobody-has-this-name/c", "/etc/boto.cfg")),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/s", "BOTO_CONFIG": "/b", "AWS_CREDENTIAL_FILE": "/c"}, ("/s", "/c", "/b")),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, ("/etc/boto.cfg",)),
        ({"AWS_CONFIG_FILE": "$D/${E F}/$NONE/$/c", "D": "/d", "E F": "e", "BOTO_CONFIG": "~/b", "HOME": "$D"}, FILLED),
    ],
)
def test_where_boto3_looks_for_keys(environ: dict[str, str], expected: tuple[str, ...]) -> None:
    assert configuration_files(environ) == tuple(map(Path, expected))
    assert len(key(environ)) == 64


@pytest.mark.parametrize("path", ["/nonexistent/x", "a\0b", "/dev/null/x", "\udce9"])
def test_a_file_that_cannot_be_looked_at_is_known_by_its_path(path: str) -> None:
    assert key({"AWS_CONFIG_FILE": path}) == key({"AWS_CONFIG_FILE": path}) != key({})


@pytest.mark.parametrize(
    ("environ", "profile", "same"),
    [
        ({}, "", False),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}, "", False),
        ({"AWS_PROFILE": "release"}, "", False),
        (KEY, "release", False),
        (KEY, "", True),
    ],
)
def test_whoever_may_have_the_role_of_a_machine_is_not_the_same_on_another(
    environ: dict[str, str], profile: str, same: bool
) -> None:
    assert (key(environ, profile, "runner-1") == key(environ, profile, "runner-2")) is same
    assert (identity_key(environ, profile) == key(environ, profile, os.uname().nodename)) is True


def test_it_is_a_hash_in_which_nothing_can_be_read() -> None:
    text = key({"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "HOME": "/home/somebody"}, "release")
    assert len(bytes.fromhex(text)) == hashlib.sha256().digest_size
    assert text == text.lower()
