"""manifest.json: the same facts come back, and any changed byte is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebit.bundle.manifest import FileEntry, Manifest, TargetEntry, WeightsEntry, parse_manifest
from edgebit.errors import BundleError
from edgebit.runtime.self_test import Sample

MANIFEST = Manifest(
    edgebit="0.1.0",
    format=2,
    task="generate",
    model={"name": "tiny – ü", "layers": 2, "context": 64, "chat": True},
    target=TargetEntry(
        "arm64", "boards", "arm64", ["aarch64"], ["dotprod", "neon"], "glibc", "linux_aarch64"
    ),
    plan={"decode_steps": 12},
    memory={"weights_bytes": 1024},
    weights=WeightsEntry("U16", "0" * 64),  # equal to the placeholder of the digest
    self_test=[Sample("Hé", [1, 2], [3], "c" * 64)],
    files={"weights.bin": FileEntry(1024, "a" * 64), "libmodel.so": FileEntry(7, "b" * 64)},
)


def test_the_same_manifest_comes_back() -> None:
    assert parse_manifest(MANIFEST.to_json()) == MANIFEST


@given(
    st.dictionaries(
        st.text(max_size=20), st.none() | st.booleans() | st.integers() | st.text(max_size=30), max_size=5
    )
)
def test_any_model_facts_come_back(facts: dict[str, str | int | bool | None]) -> None:
    manifest = replace(MANIFEST, model=facts)
    assert parse_manifest(manifest.to_json()).model == facts


def test_files_are_sorted_so_that_equal_manifests_have_equal_bytes() -> None:
    other = replace(MANIFEST, files=dict(reversed(MANIFEST.files.items())))
    assert other.to_json() == MANIFEST.to_json()


def test_every_changed_byte_is_found() -> None:
    text = MANIFEST.to_json()
    for at in range(len(text)):
        changed = text[:at] + ("8" if text[at] != "8" else "9") + text[at + 1 :]
        with pytest.raises(BundleError):
            parse_manifest(changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "not the manifest of an edgebit bundle"),
        ('{"name": "some web app"}', "not the manifest of an edgebit bundle"),
        ('{"edgebit": "9.0", "format": 7}', "bundle format 7, this edgebit reads 2"),
        ('{"edgebit": "0.1.0", "format": 2}', "was changed after the bundle was made"),
    ],
)
def test_what_is_no_manifest_is_named(text: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        parse_manifest(text, "somewhere/manifest.json")


def test_a_field_too_many_is_an_error() -> None:
    table = json.loads(MANIFEST.to_json())
    table["target"]["colour"] = "red"
    text = json.dumps(table)
    from edgebit.bundle import manifest

    digest = manifest.hashlib.sha256(
        text.replace(table["sha256"], manifest.NO_DIGEST, 1).encode()
    ).hexdigest()
    with pytest.raises(BundleError, match=r"TargetEntry has .*colour"):
        parse_manifest(text.replace(table["sha256"], digest, 1))
