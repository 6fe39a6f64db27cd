"""What bundles are built for: one TOML file per target, read by edgebit.compiler.target."""
