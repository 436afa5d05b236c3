"""Media types and the family each belongs to."""

from __future__ import annotations

import pytest

from manifestctl.model import media_types


@pytest.mark.parametrize(
    ("content_type", "essence"),
    [
        ("application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.index.v1+json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("  text/html ;x", "text/html"),
        ("", ""),
        (";", ""),
    ],
)
def test_a_content_type_without_its_parameters(content_type: str, essence: str) -> None:
    assert media_types.essence(content_type) == essence


@pytest.mark.parametrize(
    ("media_type", "docker"),
    [
        (media_types.DOCKER_LIST, True),
        (media_types.DOCKER_MANIFEST, True),
        (media_types.DOCKER_CONFIG, True),
        (media_types.OCI_INDEX, False),
        ("application/vnd.dockerish", False),
        ("", False),
    ],
)
def test_dockers_own_types(media_type: str, docker: bool) -> None:
    assert media_types.is_docker(media_type) is docker


@pytest.mark.parametrize(
    ("media_type", "foreign"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", False),
        (media_types.OCI_LAYER_GZIP, False),
    ],
)
def test_layers_that_need_not_be_there(media_type: str, foreign: bool) -> None:
    assert media_types.is_foreign(media_type) is foreign


def test_all_types_of_lists_and_manifests_are_asked_for() -> None:
    asked = media_types.ACCEPT.split(", ")
    assert set(asked) == media_types.INDEXES | media_types.MANIFESTS
    assert len(asked) == 4
    assert not media_types.GENERIC & (media_types.INDEXES | media_types.MANIFESTS | media_types.CONFIGS)
