"""Where a model comes from: a folder on disk, or a repository of the Hugging Face hub through its cache."""

from __future__ import annotations

import re
from pathlib import Path

from edgebit.errors import CheckpointError, HubError
from edgebit.model.foreign import describe_names, parts_of_one

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
    "modules.json",
    "*_Pooling/config.json",
)
GGUF_SUFFIX = ".gguf"
_REPOSITORY_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?")


def locate(source: str | Path) -> Path:
    """Where the checkpoint ``source`` is: a folder of safetensors, or a .gguf file.

    A repo id "owner/name", or "owner/name@revision", is looked up in the hub's cache and fetched where it is
    not there; HF_HUB_OFFLINE and HF_HOME are respected. A folder or repository without safetensors stands for
    its one .gguf file.
    Raises CheckpointError for what is neither, HubError where the repository cannot be fetched.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _only_gguf(path) or path
    if path.is_file() and path.suffix == GGUF_SUFFIX:
        return path
    if path.exists():
        raise CheckpointError(
            f"{path}: is a file, expected a checkpoint folder, a .gguf file or a repo id like owner/name"
        )
    if isinstance(source, str) and (found := _REPOSITORY_ID.fullmatch(source)):
        folder = _download(found[1], found[2])
        return _only_gguf(folder) or folder
    raise CheckpointError(f"{source}: no such folder or .gguf file, and not a repo id like owner/name")


def _only_gguf(folder: Path) -> Path | None:
    """The .gguf file of a folder that has no safetensors. Raises CheckpointError where there are several."""
    if any(folder.glob("*.safetensors")):
        return None
    files = sorted(folder.glob(f"*{GGUF_SUFFIX}"))
    _refuse_several(str(folder), [file.name for file in files])
    return files[0] if files else None


def _refuse_several(source: str, names: list[str]) -> None:
    if len(names) > 1 and parts_of_one(names):
        raise CheckpointError(
            f"{source}: holds one model in {len(names)} files; join them: llama-gguf-split --merge "
            f"{sorted(names)[0]} model.gguf"
        )
    if len(names) > 1:
        raise CheckpointError(f"{source}: holds several models, name one of them: {', '.join(names)}")


def _download(repository: str, revision: str | None = None) -> Path:
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
        if any(folder.glob("*.safetensors")) or any(folder.glob(f"*{GGUF_SUFFIX}")):
            return folder
        every = list_repo_files(repository, revision=revision)
        names = [name for name in every if name.endswith(GGUF_SUFFIX)]
        if not names:
            raise CheckpointError(
                f"{repository}: neither model.safetensors nor a GGUF file; {describe_names(every)}"
            )
        _refuse_several(repository, names)
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*FILES, *names]))
    except CheckpointError:
        raise
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
