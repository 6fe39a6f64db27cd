"""Devices and ISA families bundles are built for: one TOML file each, read by edgebit.compiler.target."""
