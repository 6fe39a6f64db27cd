"""From a model to a bundle or an ONNX file: the packages of edgebit called one after the other."""

from __future__ import annotations

from pathlib import Path

from edgebit.bundle.text import build_text_table
from edgebit.bundle.writer import check_output, write
from edgebit.compiler.target import load_target
from edgebit.graph import OnnxModel, build, load, save
from edgebit.model import builtin_model, open_checkpoint
from edgebit.progress import SILENT, Progress

ONNX_SUFFIX = ".onnx"
ONNX_FILE = "model.onnx"


def compile_bundle(
    model: str | Path | None,
    target: str,
    output: str | Path | None,
    context: int | None,
    progress: Progress = SILENT,
) -> Path:
    """See edgebit.compile. What can be refused early is: the target, the output folder, the tokenizer."""
    from edgebit.compiler import compile_graph  # TVM takes seconds to import

    chosen = load_target(target)
    if output is not None:
        check_output(Path(output))
    progress.stage("read model")
    graph = open_graph(model)
    folder = check_output(Path(output or f"{graph.metadata.name}-{chosen.name}"))
    progress.stage("tokenizer")
    metadata = graph.metadata
    text_table = build_text_table(
        graph.tokenizer, metadata.chat_template, metadata.bos_token_id, metadata.stop_token_ids
    )
    compiled = compile_graph(graph, chosen, context, progress)
    return write(compiled, text_table, folder, progress)


def export_graph(model: str | Path | None, output: str | Path, progress: Progress = SILENT) -> Path:
    """See edgebit.export."""
    progress.stage("read model")
    graph = open_graph(model)
    progress.stage("write graph")
    return save(graph, output, progress)


def open_graph(model: str | Path | None) -> OnnxModel:
    """The ONNX graph of a model: read where it is one already, built from the checkpoint otherwise."""
    if model is not None and is_onnx(Path(model)):
        return load(model)
    return build(open_checkpoint(model if model is not None else builtin_model()))


def is_onnx(path: Path) -> bool:
    return path.suffix == ONNX_SUFFIX or (path / ONNX_FILE).is_file()
