"""The one place where the version stands: pyproject.toml, the CLI and every manifest read it."""

VERSION = "0.1.0"
