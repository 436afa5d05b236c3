"""The images of an archive: what ``manifest.json`` and ``index.json`` say, brought together, and chosen from.

An archive of ``docker save`` has the first, an OCI archive the second, and Docker 25 and later write both. Where both
tell of an image, the manifest that ``index.json`` names is only taken if it fits the image's config: Docker 25.0.0
wrote layers in the wrong order, releases before it none, and several write no entry or too few.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, InputError, IntegrityError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import Manifest, parse_config
from manifestctl.model.reference import DEFAULT_TAG, Reference
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.stores.archive_index import INDEX_FILE, Root, manifests, roots
from manifestctl.stores.base import LocalImage
from manifestctl.stores.docker_save import MANIFEST_FILE, saved_images
from manifestctl.stores.local_names import id_digits, means, podman_store, references
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from manifestctl.model.digest import Digest
    from manifestctl.model.manifest import ImageConfig
    from manifestctl.stores.archive_file import ArchiveFile
    from manifestctl.stores.docker_save import SavedImage

_PLAIN_LAYERS = frozenset(
    {
        media_types.DOCKER_LAYER,
        media_types.OCI_LAYER,
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    }
)
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Held:
    """One image or list that can be chosen: ``source`` is what is used of it."""

    names: tuple[str, ...]
    tags: frozenset[str]
    source: SavedImage | Root = field(repr=False)

    @property
    def id(self) -> Digest:
        """The digest of the config, or of the list."""
        if not isinstance(self.source, Root):
            return self.source.config.digest
        document = self.source.document
        return document.config.digest if isinstance(document, Manifest) else self.source.descriptor.digest

    @property
    def ids(self) -> set[str]:
        """What it may be called by: hexadecimal digests of the config, and of the manifest if the archive has it."""
        return {self.id.encoded} | ({self.source.descriptor.digest.encoded} if isinstance(self.source, Root) else set())

    @property
    def label(self) -> str:
        """What a message calls it: a name, else its id."""
        return escape(self.names[0], 200) if self.names else self.id.short


class Images:
    """The images of an archive, in its order."""

    def __init__(self, file: ArchiveFile, held: list[Held]) -> None:
        """Keep what was found."""
        self.held = held
        self._file = file

    @classmethod
    def read(cls, file: ArchiveFile, *, prefer_saved: bool) -> Images:
        """Read what an archive holds.

        ``prefer_saved`` takes what ``manifest.json`` says where both could be taken. Raises `DocumentError` if it is
        not an archive of images, or what is in it is not as it should be, `IntegrityError` and `MissingContentError`.
        """
        if file.find(MANIFEST_FILE) is None and file.find(INDEX_FILE) is None:
            raise _no_archive(file)
        saved, found = saved_images(file), roots(file)
        held: list[Held] = []
        rest = list(saved)
        for root in found:
            if root.document is None:
                # manifest.json tells of all that can be used then.
                held += [Held(root.names, root.tags, root)] if not saved else []
                continue
            configs = {manifest.config.digest for manifest in manifests(file, root.document)}
            own = [image for image in saved if image.config.digest in configs]
            names = tuple(dict.fromkeys((*(name for image in own for name in image.names), *root.names)))
            rest = [image for image in rest if image not in own]
            held.append(Held(_distinct(names), root.tags, _better(root, own, prefer_saved=prefer_saved)))
        held += [Held(_distinct(image.names), frozenset(), image) for image in rest]
        return cls(file, held)

    def choose(self, name: str) -> Held:
        """Return the image of a name, tag or id, or the only one for ``""``.

        Raises `NotFoundError` if there is none, `InputError` if there are several.
        """
        found = self.find(name) if name else self.held
        if name and not found:
            raise self.missing(name)
        return self._one(found, name)

    def find(self, name: str, *, every_tag: bool = False) -> list[Held]:
        """Return the images that a name, tag or id may mean; several if that is not clear.

        A name without a tag means ``latest``, or with ``every_tag`` all tags; Podman's ``localhost/`` may be left out.
        """
        return next((found for found in self._named(name, every_tag=every_tag) if found), [])

    def missing(self, name: str) -> NotFoundError:
        """Return the error for a name that no image has."""
        return NotFoundError(f"{self._file.what}: it holds no image '{escape(name, 200)}'", hint=self._near(name))

    def describe(self, held: Held) -> LocalImage:
        """Say what is known of an image."""
        source = held.source
        if not isinstance(source, Root):
            members = [member for layer in source.layers if (member := self._file.find(layer)) is not None]
            size = source.config.size + sum(member.size for member in members)
            return LocalImage(held.names, held.id, (source.image.platform,), size, source.image.created)
        images = list(manifests(self._file, source.document)) if source.document is not None else []
        blobs = {part.digest: part.size for image in images for part in (image.config, *image.layers)}
        configs = [config for image in images if (config := self._config(image)) is not None]
        created = configs[0].created if configs else ""
        return LocalImage(
            held.names, held.id, tuple(config.platform for config in configs), sum(blobs.values()), created
        )

    def _config(self, image: Manifest) -> ImageConfig | None:
        member = self._file.blob(image.config.digest)
        what = f"{self._file.what}@{image.config.digest}"
        with suppress(DocumentError, IntegrityError):
            return parse_config(self._file.read(member, CONFIG_LIMIT, what), what) if member is not None else None
        return None

    def _named(self, name: str, *, every_tag: bool) -> Iterator[list[Held]]:
        """Yield what fits the name, by one reading of it after the other."""
        yield self._where(lambda held: name in held.names)
        for wanted in references((name,)):
            yield self._in_store(wanted.store, wanted, every_tag=every_tag)
            yield self._in_store(podman_store(name), wanted, every_tag=every_tag)
        yield self._where(lambda held: name in held.tags or name in map(_tag, held.names))
        digits = id_digits(name)
        yield self._where(lambda held: digits != "" and any(id_.startswith(digits) for id_ in held.ids))

    def _in_store(self, store: str, wanted: Reference, *, every_tag: bool) -> list[Held]:
        return self._where(lambda held: any(means(wanted, name, store, every_tag=every_tag) for name in held.names))

    def _where(self, fits: Callable[[Held], bool]) -> list[Held]:
        return [held for held in self.held if fits(held)]

    def _one(self, found: list[Held], name: str) -> Held:
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFoundError(f"{self._file.what}: it holds no image", hint="Save the image again, by its name.")
        named = f"'{escape(name, 200)}' fits several of its images" if name else f"it holds {len(found)} images"
        raise InputError(
            f"{self._file.what}: {named}", hint=f"Name one of them: {_listed(held.label for held in found)}."
        )

    def _near(self, name: str) -> str:
        import difflib

        labels = [held.label for held in self.held]
        words = {word: label for label in labels for word in (label, _tag(label))}
        near = dict.fromkeys(words[word] for word in difflib.get_close_matches(name, words, n=3, cutoff=0.6))
        return f"Did you mean {_listed(near)}?" if near else f"It holds {_listed(labels) or 'nothing'}."


def _better(root: Root, saved: list[SavedImage], *, prefer_saved: bool) -> SavedImage | Root:
    document = root.document
    if not saved or not isinstance(document, Manifest):
        return root
    plain = [layer.media_type in _PLAIN_LAYERS for layer in document.layers]
    diff_ids = saved[0].image.diff_ids
    fits = len(diff_ids) == len(document.layers) and all(
        not is_plain or str(layer.digest) == diff_id
        for layer, diff_id, is_plain in zip(document.layers, diff_ids, plain, strict=True)
    )
    # Layers that are packed in the archive are those that were pulled or built, and may be in the registry already.
    return root if fits and not (prefer_saved and all(plain)) else saved[0]


def _no_archive(file: ArchiveFile) -> DocumentError:
    if file.find("repositories") is not None:
        return DocumentError(
            f"{file.what} was written by a Docker older than 1.10",
            hint="Load it with 'docker load', and save it again.",
        )
    return DocumentError(
        f"{file.what} is not an archive of images: it has neither {MANIFEST_FILE} nor {INDEX_FILE}",
        hint="Make one with 'docker save', 'skopeo copy' or 'buildx build --output type=oci'.",
    )


def _normal(name: str) -> str:
    with suppress(InputError):
        reference = Reference.parse(name)
        return str(reference if reference.digest else reference.with_tag(reference.tag or DEFAULT_TAG))
    return name


def _tag(name: str) -> str:
    """Return the tag of a full name; of a bare tag, itself."""
    tag = name.rpartition(":")[2]
    return "" if "/" in tag else tag


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names without those that are another way to write an earlier one."""
    return tuple({_normal(name): name for name in reversed(list(names))}.values())[::-1]


def _listed(labels: Iterable[str]) -> str:
    listed = list(labels)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
