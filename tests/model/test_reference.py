"""References: short forms and hosts as Docker has them, the grammar of the distribution-spec, and clear refusals."""

from __future__ import annotations

import pytest

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.reference import Reference, check_tag

DIGEST = "sha256:" + "a" * 64
HUB = "docker.io"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("ubuntu", HUB, "library/ubuntu", None, None),
        ("ubuntu:22.04", HUB, "library/ubuntu", "22.04", None),
        ("team/web", HUB, "team/web", None, None),
        ("team/web/deep:1", HUB, "team/web/deep", "1", None),
        (f"web@{DIGEST}", HUB, "library/web", None, DIGEST),
        (f"web:1@{DIGEST}", HUB, "library/web", "1", DIGEST),
        ("docker.io/ubuntu", HUB, "library/ubuntu", None, None),
        ("index.docker.io/ubuntu:1", HUB, "library/ubuntu", "1", None),
        ("registry-1.docker.io/team/web", HUB, "team/web", None, None),
        ("Docker.IO/ubuntu", HUB, "library/ubuntu", None, None),
        ("public.ecr.aws/alias/web:1.4", "public.ecr.aws", "alias/web", "1.4", None),
        ("ghcr.io/o/r:tag", "ghcr.io", "o/r", "tag", None),
        ("ghcr.io/one", "ghcr.io", "one", None, None),
        ("localhost/web", "localhost", "web", None, None),
        ("localhost:5000/web:1", "localhost:5000", "web", "1", None),
        ("localhost:5000", HUB, "library/localhost", "5000", None),
        ("host:80/web", "host:80", "web", None, None),
        ("host:65535/web", "host:65535", "web", None, None),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", None, None),
        ("[::1]/web", "[::1]", "web", None, None),
        ("[::1]:5000/web:1", "[::1]:5000", "web", "1", None),
        ("[2001:DB8::1]:443/web", "[2001:DB8::1]:443", "web", None, None),
        ("[::ffff:127.0.0.1]/web", "[::ffff:127.0.0.1]", "web", None, None),
        ("Registry.Example.COM/web", "Registry.Example.COM", "web", None, None),
        ("Foo/web", "Foo", "web", None, None),
        ("my-host.example/a.b_c__d-e---f/g", "my-host.example", "a.b_c__d-e---f/g", None, None),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "x",
            None,
            None,
        ),
        ("0/1:2", HUB, "0/1", "2", None),
        (f"r.example/a:{'t' * 128}", "r.example", "a", "t" * 128, None),
        ("r.example/a:_X-.9", "r.example", "a", "_X-.9", None),
        (f"r.example/{'a' * 245}", "r.example", "a" * 245, None, None),
        (f"web@blake3:{'b' * 64}", HUB, "library/web", None, f"blake3:{'b' * 64}"),
    ],
)
def test_what_a_user_types(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    reference = Reference.parse(text)
    assert (reference.registry, reference.repository, reference.tag) == (registry, repository, tag)
    assert (str(reference.digest) if reference.digest else None) == digest
    assert Reference.parse(str(reference)) == reference
    assert str(Reference.parse(str(reference))) == str(reference)
    assert reference.selector == (digest or tag or "latest")
    assert reference.store == f"{registry}/{repository}"
    assert Reference.parse(reference.store).store == reference.store


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it names no repository"),
        (":tag", "it names no repository"),
        ("@", "'' is not a digest"),
        ("web@", "'' is not a digest"),
        (f"@{DIGEST}", "it names no repository"),
        ("web@sha256:abc", "is not a sha256 digest"),
        (f"web@{DIGEST.upper()}", "is not a digest"),
        (f"web@{DIGEST}@{DIGEST}", "is not a digest"),
        (f"web@{DIGEST}:tag", "is not a digest"),
        ("user@host.example/web", "a user or a password stands before its host"),
        ("web:", "'' is not a tag"),
        ("web:.dot", "'.dot' is not a tag"),
        ("web:-dash", "'-dash' is not a tag"),
        ("web:a b", "'a b' is not a tag"),
        ("web:1+2", "'1+2' is not a tag"),
        ("web:ä", "'ä' is not a tag"),
        ("web:٣", "'٣' is not a tag"),
        ("web:1\n", "'1\\n' is not a tag"),
        (f"web:{'t' * 129}", "is not a tag"),
        ("Web", "must be lower-case"),
        ("team/Web:1", "must be lower-case"),
        ("ghcr.io/Owner/repo", "must be lower-case"),
        ("ghcr.io/", "'' is not a repository name"),
        ("docker.io/", "'library/' is not a repository name"),
        ("ghcr.io//web", "is not a repository name"),
        ("ghcr.io/web/", "is not a repository name"),
        ("/web", "is not a repository name"),
        ("./web", "is not a host"),
        ("../web", "is not a host"),
        ("web..x", "is not a repository name"),
        ("web._x", "is not a repository name"),
        ("web___x", "is not a repository name"),
        ("-web", "is not a repository name"),
        ("web-", "is not a repository name"),
        ("we b", "is not a repository name"),
        (" web", "is not a repository name"),
        ("web\n", "is not a repository name"),
        ("web\0", "is not a repository name"),
        ("wéb", "is not a repository name"),
        ("r.example/a/../b", "is not a repository name"),
        ("r.example/a%2fb", "is not a repository name"),
        ("r.example/a?x=y", "is not a repository name"),
        ("r.example/a#b", "is not a repository name"),
        ("host:/web", "'host:' is not a host"),
        ("host:0/web", "'host:0' is not a host"),
        ("host:65536/web", "'host:65536' is not a host"),
        ("host:99999/web", "'host:99999' is not a host"),
        ("host:123456/web", "is not a host"),
        ("host:5o/web", "is not a host"),
        ("host:٣/web", "is not a host"),
        (".example/web", "is not a host"),
        ("example./web", "is not a host"),
        ("-a.example/web", "is not a host"),
        ("a-.example/web", "is not a host"),
        ("a_b.example/web", "is not a host"),
        ("ex ample.com/web", "is not a host"),
        ("exämple.com/web", "is not a host"),
        ("::1/web", "is not a host"),
        ("::1:5000/web", "is not a host"),
        ("[::1/web", "is not a host"),
        ("[]:80/web", "is not a host"),
        ("[:::]/web", "is not a host"),
        ("[1.2.3.4]/web", "is not a host"),
        ("[fe80::1%eth0]/web", "is not a host"),
        ("[::1]x/web", "is not a host"),
        ("user:pass@r.example/web", "a user or a password stands before its host"),
        ("https://user:pass@r.example/web", "a user or a password stands before its host"),
        ("https://r.example/web:1", "it is a URL"),
        ("docker://r.example/web", "it is a URL"),
        (f"r.example/{'a' * 246}", "longer than 255 characters"),
        ("a/" * 200 + "a", "longer than 255 characters"),
    ],
)
def test_what_is_not_a_reference_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        Reference.parse(text)
    assert reason in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://r.example/web:1", "Write it without the scheme: r.example/web:1"),
        ("ghcr.io/Owner/Repo", "Write ghcr.io/owner/repo"),
        ("public.ecr.aws/acme/Web:V1", "Write public.ecr.aws/acme/web:V1"),
        ("we b", "Write registry/repository:tag or registry/repository@sha256:…"),
    ],
)
def test_the_hint_says_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        Reference.parse(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize("unit", ["a-", "a.", "a_", "a/", "A.", "a.b-", "::", "[", "a:"])
def test_a_text_of_any_length_is_judged_at_once(unit: str) -> None:
    with pytest.raises(InputError) as caught:
        Reference.parse(unit * 100_000 + "!")
    assert len(caught.value.message) < 2000


@pytest.mark.parametrize("password", ["hunter2pw", "p@hunter2", "hunter2/p", "hunter2?p=w"])
@pytest.mark.parametrize("scheme", ["", "https://"])
@pytest.mark.parametrize("end", ["", ":1", f":1@{DIGEST}"])
def test_a_password_before_the_host_is_not_said_again(scheme: str, password: str, end: str) -> None:
    with pytest.raises(InputError) as caught:
        Reference.parse(f"{scheme}alice:{password}@r.example:5000/web{end}")
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert "@r.example:5000/web" in caught.value.message


def test_with_tag_and_with_digest_leave_the_repository() -> None:
    reference = Reference.parse(f"r.example/web:1@{DIGEST}")
    assert str(reference.with_tag("2")) == "r.example/web:2"
    assert str(reference.with_tag(None)) == "r.example/web"
    assert str(reference.with_digest(Digest.parse(DIGEST))) == f"r.example/web@{DIGEST}"
    assert str(reference) == f"r.example/web:1@{DIGEST}"


@pytest.mark.parametrize("tag", ["latest", "1.4-amd64", "_", "A", "0", "x" * 128])
def test_tags(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", ".", "-", "a/b", "a:b", "a@b", "a\n", "x" * 129, "\u202e"])
def test_what_is_not_a_tag(tag: str) -> None:
    with pytest.raises(InputError, match="is not a tag") as caught:
        check_tag(tag)
    assert "1 to 128" in caught.value.hint
