"""Where a model comes from: a folder on disk, or a repository of the Hugging Face hub through its cache."""

from __future__ import annotations

import re
from pathlib import Path

from edgebit.errors import CheckpointError, HubError

# Weights, configuration and tokenizer; never code (*.py) and no other weight formats.
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
_REPOSITORY_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(source: str | Path) -> Path:
    """The folder of ``source``: itself, or the cached snapshot of a repo id "owner/name".

    The hub is asked only for what no folder of that name provides; HF_HUB_OFFLINE and HF_HOME are respected.
    Raises CheckpointError for what is neither, HubError where the repository cannot be fetched.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path}: is a file, expected a checkpoint folder or a repo id like owner/name")
    if isinstance(source, str) and _REPOSITORY_ID.fullmatch(source):
        return _download(source)
    raise CheckpointError(f"{source}: no such folder, and not a repo id like owner/name")


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except GatedRepoError:
        raise HubError(
            f"{repository}: needs its licence accepted on its page, then `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise HubError(
            f"{repository}: no such folder here and no such repository on the hub; check the name"
        ) from None
    except LocalEntryNotFoundError:
        raise HubError(
            f"{repository}: not in the local cache, and the hub cannot be reached (offline?); "
            "connect, or download it elsewhere and give its folder"
        ) from None
    except Exception as reason:  # transport, disk and server errors of many libraries come through
        first_line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
        raise HubError(
            f"{repository}: cannot be downloaded ({first_line}); try again or give a local folder"
        ) from None
