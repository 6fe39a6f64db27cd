"""A bundle: the folder that runs by itself on a device."""

from edgebit.bundle.manifest import MANIFEST, Manifest, parse_manifest
from edgebit.bundle.writer import CompiledModel, check_output, is_bundle, write

__all__ = ["MANIFEST", "CompiledModel", "Manifest", "check_output", "is_bundle", "parse_manifest", "write"]
