"""The runnable images under fixtures/images: that they are what their script makes, and that they run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SCRIPT = FIXTURES / "make_images.py"
HELLO = FIXTURES / "images" / "hello"

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")


@dataclass(frozen=True)
class Image:
    """What one tag of the layout leads to."""

    manifest: dict[str, Any]
    config: dict[str, Any]
    layer: bytes
    program: bytes


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def make(directory: Path, **environment: str) -> None:
    subprocess.run(
        [sys.executable, str(SCRIPT), str(directory)], check=True, timeout=60, env={**os.environ, **environment}
    )


def blob(descriptor: dict[str, Any]) -> bytes:
    content: bytes = (HELLO / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert len(content) == descriptor["size"]
    assert "sha256:" + hashlib.sha256(content).hexdigest() == descriptor["digest"]
    return content


def load(tag: str) -> Image:
    index = json.loads((HELLO / "index.json").read_bytes())
    [entry] = [e for e in index["manifests"] if e["annotations"]["org.opencontainers.image.ref.name"] == tag]
    manifest = json.loads(blob(entry))
    layer = blob(manifest["layers"][0])
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as archive:
        program = archive.extractfile("hello")
        assert program is not None
        return Image(manifest, json.loads(blob(manifest["config"])), layer, program.read())


@pytest.mark.parametrize("environment", [{}, {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7", "LANG": "C"}])
def test_the_tree_holds_exactly_what_the_script_makes(tmp_path: Path, environment: dict[str, str]) -> None:
    make(tmp_path / "hello", **environment)
    assert files_of(tmp_path / "hello") == files_of(HELLO)


def test_a_second_run_removes_blobs_that_no_image_has(tmp_path: Path) -> None:
    stale = tmp_path / "blobs" / "sha256" / ("0" * 64)
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    make(tmp_path)
    assert not stale.exists()
    assert files_of(tmp_path) == files_of(HELLO)


def test_the_layout_has_one_tag_for_each_architecture_and_no_other_blob() -> None:
    index = json.loads((HELLO / "index.json").read_bytes())
    assert json.loads((HELLO / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    tags = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]
    assert tags == ["1.4-amd64", "1.4-arm64"]
    named = {entry["digest"] for entry in index["manifests"]}
    for image in map(load, tags):
        named |= {image.manifest["config"]["digest"], image.manifest["layers"][0]["digest"]}
    assert named == {f"sha256:{path.name}" for path in (HELLO / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize(
    ("tag", "architecture", "variant"), [("1.4-amd64", "amd64", None), ("1.4-arm64", "arm64", "v8")]
)
def test_the_config_describes_the_image(tag: str, architecture: str, variant: str | None) -> None:
    image = load(tag)
    assert (image.config["os"], image.config["architecture"]) == ("linux", architecture)
    assert image.config.get("variant") == variant
    assert image.config["config"]["Entrypoint"] == ["/hello"]
    diff_id = "sha256:" + hashlib.sha256(gzip.decompress(image.layer)).hexdigest()
    assert image.config["rootfs"] == {"type": "layers", "diff_ids": [diff_id]}
    assert len([entry for entry in image.config["history"] if not entry.get("empty_layer")]) == 1


def test_both_images_name_the_same_revision() -> None:
    labels = [load(tag).config["config"]["Labels"] for tag in ("1.4-amd64", "1.4-arm64")]
    assert labels[0] == labels[1]
    assert len(labels[0]["org.opencontainers.image.revision"]) == 40


@pytest.mark.parametrize("tag", ["1.4-amd64", "1.4-arm64"])
def test_the_layer_depends_on_no_compressor_clock_or_user(tag: str) -> None:
    layer = load(tag).layer
    assert layer[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    # Bits 1 and 2 of a deflate block say how it is coded; 00 is stored.
    assert layer[10] & 0b110 == 0
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as archive:
        [entry] = archive.getmembers()
    assert (entry.name, entry.mode, entry.uid, entry.gid, entry.mtime) == ("hello", 0o755, 0, 0, 0)


@pytest.mark.parametrize(("tag", "machine", "page"), [("1.4-amd64", 62, 0x1000), ("1.4-arm64", 183, 0x10000)])
def test_the_program_is_a_static_elf_executable(tag: str, machine: int, page: int) -> None:
    program = load(tag).program
    identification, kind, its_machine, version, entry, segments_at, *_rest, segment_size, segment_count, _, _, _ = (
        HEADER.unpack_from(program)
    )
    assert identification[:7] == b"\x7fELF\x02\x01\x01"
    assert (kind, its_machine, version, segment_size, segment_count) == (2, machine, 1, SEGMENT.size, 1)
    load_kind, flags, offset, address, _, in_file, in_memory, alignment = SEGMENT.unpack_from(program, segments_at)
    assert (load_kind, flags, offset, alignment) == (1, 5, 0, page)
    assert in_file == in_memory == len(program)
    assert address % alignment == offset % alignment
    assert address + HEADER.size + SEGMENT.size == entry


def test_the_arm64_code_asks_for_write_and_exit() -> None:
    program = load("1.4-arm64").program
    start = HEADER.size + SEGMENT.size
    calls = run_arm64(program[start:])
    assert calls == [("write", 1, b"hello from linux/arm64\n"), ("exit", 0, b"")]


def run_arm64(code: bytes) -> list[tuple[str, int, bytes]]:
    """Interpret the three AArch64 instructions that the program uses, up to exit, and return its system calls."""
    registers = [0] * 32
    calls: list[tuple[str, int, bytes]] = []
    for at in range(0, len(code), 4):
        [word] = struct.unpack_from("<I", code, at)
        if word == 0xD4000001:  # svc #0
            name = {64: "write", 93: "exit"}[registers[8]]
            data = code[registers[1] :][: registers[2]] if name == "write" else b""
            calls.append((name, registers[0], data))
            if name == "exit":
                return calls
        elif word >> 21 == 0b11010010100:  # movz Xd, #imm16
            registers[word & 31] = word >> 5 & 0xFFFF
        else:
            assert word >> 31 == 0, hex(word)
            assert word >> 24 & 0b11111 == 0b10000, hex(word)  # adr Xd, label
            registers[word & 31] = at + ((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3)
    raise AssertionError("the program runs past its end")


def runners() -> list[Any]:
    """Return the ways to run the programs on this machine: natively, or by an emulator that is on PATH."""
    native = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}.get(platform.machine())
    ways = []
    for architecture, emulator in (("amd64", "qemu-x86_64-static"), ("arm64", "qemu-aarch64-static")):
        if sys.platform == "linux" and architecture == native:
            ways.append(pytest.param(architecture, [], id=f"{architecture}-native"))
        elif found := shutil.which(emulator):
            ways.append(pytest.param(architecture, [found], id=f"{architecture}-emulated"))
    return ways


@pytest.mark.parametrize(("architecture", "command"), runners())
def test_the_program_runs_and_names_its_platform(tmp_path: Path, architecture: str, command: list[str]) -> None:
    program = tmp_path / "hello"
    program.write_bytes(load(f"1.4-{architecture}").program)
    program.chmod(0o755)
    done = subprocess.run([*command, str(program)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"hello from linux/{architecture}\n".encode(), b"")


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH")
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_reads_the_layout(architecture: str) -> None:
    done = subprocess.run(
        ["skopeo", "inspect", f"oci:{HELLO}:1.4-{architecture}"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert (seen["Os"], seen["Architecture"]) == ("linux", architecture)
    assert seen["Labels"]["org.opencontainers.image.version"] == "1.4"
