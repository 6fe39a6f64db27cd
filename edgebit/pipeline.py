"""From a model to a bundle or an ONNX file: the packages of edgebit called one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from threadpoolctl import threadpool_limits

from edgebit.bundle.text import build_text_table
from edgebit.bundle.writer import check_output, write
from edgebit.compiler.target import Target, load_target
from edgebit.errors import GraphError, TokenizerError, UsageError
from edgebit.graph import OnnxModel, build, load, save, with_matmulnbits
from edgebit.graph.dimensions import fix_dimensions
from edgebit.model import AS_THE_FILE_SAYS, Overrides, builtin_model, open_checkpoint
from edgebit.model.hub import GGUF_SUFFIX
from edgebit.model.jsonfile import parse_json
from edgebit.progress import SILENT, Progress

AUTO = "auto"
KV_TYPES = ("f16", "int8")
HEADS = (AUTO, "exact", "s4", "full", "int8")
EDGEBIT_FLAVOR = "edgebit"
FLAVORS = (EDGEBIT_FLAVOR, "matmulnbits")
ONNX_SUFFIX = ".onnx"
ONNX_FILE = "model.onnx"
SPECIAL_TOKEN_FILES = ("special_tokens_map.json", "tokenizer_config.json")  # the later one wins


def compile_bundle(
    model: str | Path | None,
    target: str,
    output: str | Path | None,
    context: int | None,
    head: str = AUTO,
    kv: str = "f16",
    progress: Progress = SILENT,
    overrides: Overrides = AS_THE_FILE_SAYS,
    dims: Mapping[str, int] | None = None,
) -> Path:
    """See edgebit.compile. What can be refused early is: the target, the output folder, the tokenizer."""
    chosen = load_target(target)
    if head not in HEADS:
        raise UsageError(f"unknown head {head!r}; known are {', '.join(HEADS)}")
    if kv not in KV_TYPES:
        raise UsageError(f"unknown kv {kv!r}; known are {', '.join(KV_TYPES)}")
    if output is not None:
        check_output(Path(output))
    progress.stage("read model")
    graph = open_graph(model, overrides)
    folder = check_output(Path(output or f"{graph.metadata.name}-{chosen.name}"))
    if not graph.is_language_model:
        if context is not None or head != AUTO or kv != KV_TYPES[0]:
            raise UsageError(
                f"{model}: context, head and kv are of language models, not of graphs of tensors"
            )
        fix_dimensions(graph.ir, dims or {}, str(model))
        return _compile_tensors(graph, chosen, folder, progress)
    if dims:
        raise UsageError(
            f"{model or graph.metadata.name}: dims are of graphs of tensors, this is a language model"
        )
    progress.stage("tokenizer")
    text_table = text_table_of(graph)
    progress.stage("load TVM")
    # Takes seconds to import: not before everything cheap is checked.
    from edgebit.compiler import CompileOptions
    from edgebit.heads import compile_with_head
    from edgebit.self_test import SelfTest

    options = CompileOptions(context=context, kv=kv)
    # On small matrices the threads of a BLAS wait for each other, at twenty times the CPU of one alone.
    with (
        threadpool_limits(1, user_api="blas"),
        compile_with_head(graph, chosen, options, head, progress) as compiled,
    ):
        return write(compiled, text_table, folder, SelfTest(compiled, progress), progress)


def _compile_tensors(graph: OnnxModel, target: Target, folder: Path, progress: Progress) -> Path:
    progress.stage("load TVM")
    from edgebit.compiler import compile_graph
    from edgebit.self_test import SelfTest

    compiled = compile_graph(graph, target, progress=progress)
    return write(compiled, None, folder, SelfTest(compiled, progress), progress)


def export_graph(
    model: str | Path | None,
    output: str | Path,
    progress: Progress = SILENT,
    overrides: Overrides = AS_THE_FILE_SAYS,
    flavor: str = EDGEBIT_FLAVOR,
) -> Path:
    """See edgebit.export."""
    output = Path(output)
    if flavor not in FLAVORS:
        raise UsageError(f"unknown flavor {flavor!r}; known are {', '.join(FLAVORS)}")
    if output.suffix == ONNX_SUFFIX and output.name != ONNX_FILE:
        raise UsageError(
            f"{output}: the file is always called {ONNX_FILE}, its data and tokenizer stand beside it"
        )
    progress.stage("read model")
    graph = open_graph(model, overrides)
    if flavor != EDGEBIT_FLAVOR:
        graph = with_matmulnbits(graph)
    progress.stage("write graph")
    if output.name != ONNX_FILE:
        return save(graph, output, progress) / ONNX_FILE
    return save_beside(graph, output, progress)


def save_beside(graph: OnnxModel, output: Path, progress: Progress) -> Path:
    """Write `output` and its companions into a folder that may hold other things; replaces an earlier export.

    Raises UsageError where a file of that name is not of an earlier export.
    """
    folder = output.resolve().parent
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    if missing:
        return save(graph, folder, progress) / ONNX_FILE
    try:
        with tempfile.TemporaryDirectory(prefix=f".{ONNX_FILE}.", dir=folder) as temporary:
            made = sorted(save(graph, Path(temporary) / "new", progress).iterdir())
            foreign = [path.name for path in made if (folder / path.name).exists() and not output.exists()]
            if foreign:
                raise UsageError(f"{folder / foreign[0]} is of no earlier export; name another folder")
            for path in made:
                path.replace(folder / path.name)
    except OSError as error:
        raise GraphError(f"{error.filename or folder}: {error.strerror or error}") from error
    return output


def text_table_of(graph: OnnxModel) -> bytes:
    """tokenizer.bin of a model. Raises TokenizerError, ChatTemplateError."""
    metadata = graph.metadata
    return build_text_table(
        graph.tokenizer,
        metadata.chat_template,
        metadata.bos_token_id,
        metadata.stop_token_ids,
        special_tokens(graph.files),
        metadata.eos_token_id,
    )


def special_tokens(files: Mapping[str, bytes]) -> dict[str, str]:
    """The names a chat template may print, such as eos_token, from the files beside the graph."""
    names: dict[str, str] = {}
    for file in SPECIAL_TOKEN_FILES:
        table = parse_json(files.get(file, b"{}"), f"{file} beside the model", TokenizerError)
        for key, value in table.items():
            text = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(text, str):
                names[key] = text
    return names


def open_graph(model: str | Path | None, overrides: Overrides = AS_THE_FILE_SAYS) -> OnnxModel:
    """The ONNX graph of a model: read where it is one already, built from the checkpoint otherwise."""
    if model is not None and is_onnx(Path(model)):
        if overrides.describe():
            raise UsageError(f"{model}: {', '.join(overrides.describe())} is for checkpoints, not for graphs")
        return load(model)
    if model is not None and Path(model).is_file() and Path(model).suffix != GGUF_SUFFIX:
        raise UsageError(
            f"{model}: is a file, expected a checkpoint folder, a .gguf or .onnx file, or a repo id like "
            "owner/name"
        )
    return build(open_checkpoint(model if model is not None else builtin_model(), overrides))


def is_onnx(path: Path) -> bool:
    return path.suffix == ONNX_SUFFIX or (path / ONNX_FILE).is_file()
