"""A model folder on disk: model.onnx, model.onnx.data, tokenizer.json and its companions, genai_config.json.

Tensors above 256 bytes go to model.onnx.data, each at a multiple of 4096 bytes so that a reader can map it
aligned. The same model gives the same bytes. A folder appears complete or not at all.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import onnx
import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.folders import replacing
from edgebit.graph.genai import GENAI_FILE, genai_config, metadata_from
from edgebit.graph.model import GraphMetadata, OnnxModel, is_described
from edgebit.graph.operators import DOMAIN, DOMAIN_VERSION, OPSET_VERSION
from edgebit.graph.recognition import recognize
from edgebit.graph.wellformed import check_graph
from edgebit.graph.wire import check_wire_size
from edgebit.model.jsonfile import quoted, read_json
from edgebit.model.tokenizer import COMPANION_FILES, TOKENIZER_FILE, read_chat_template
from edgebit.progress import SILENT, Progress

MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
_INLINE_BYTES = 256
_OLDEST_OPSET = 13  # of graphs by others: since then axes are inputs and quantisation is by axis
_ALIGNMENT = 4096
_LONGEST_NAME = 255


def save(model: OnnxModel, path: str | Path, progress: Progress = SILENT) -> Path:
    """Write ``model`` as folder ``path`` and return it; weights are streamed, one block in memory at a time.

    An earlier export at ``path`` is replaced when the new one is complete. Raises GraphError where the
    folder holds anything else or cannot be written, CheckpointError where a weight turns out to be damaged.
    """
    folder = Path(path)
    _refuse_foreign(folder)
    with replacing(folder, GraphError) as staging:
        _write(model, staging, progress)
    return folder


def load(path: str | Path) -> OnnxModel:
    """Open a folder written by `save`, or an .onnx file; tensors stay mapped.

    A file without metadata of edgebit is a graph of tensors. Raises GraphError.
    """
    file = Path(path)
    if file.is_dir():
        file = file / MODEL_FILE
    if not file.is_file():
        raise GraphError(
            f"{file}: no such file; name an .onnx file or the folder that `edgebit export` wrote"
        )
    check_wire_size(file)
    try:
        proto = onnx.load(file, load_external_data=False)
        check_graph(proto.graph, str(file))
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, file.parent)
    except GraphError:
        raise
    except Exception as reason:  # protobuf and onnx_ir raise many kinds for a foreign or cut file
        raise GraphError(
            f"{file}: not a readable ONNX file ({_first_line(reason)}); export it again"
        ) from None
    _check_external_data(model, file)
    recognize(model, str(file))
    if not is_described(model.metadata_props) and not file.with_name(GENAI_FILE).is_file():
        _check_tensor_versions(model, file)
        name = file.resolve().parent.name if file.name == MODEL_FILE else file.stem
        return OnnxModel(model, GraphMetadata.of_tensors(name), {})
    _check_versions(model, file)
    metadata = _metadata(model, file)
    files = {
        name: (file.parent / name).read_bytes() for name in COMPANION_FILES if (file.parent / name).is_file()
    }
    if TOKENIZER_FILE not in files:
        raise GraphError(
            f"{file}: no {TOKENIZER_FILE} beside it; copy the whole folder that `edgebit export` wrote"
        )
    return OnnxModel(model, metadata, files)


def _metadata(model: ir.Model, file: Path) -> GraphMetadata:
    """What the file says, or genai_config.json beside a file that edgebit did not export."""
    genai = file.with_name(GENAI_FILE)
    if is_described(model.metadata_props) or not genai.is_file():
        return GraphMetadata.from_properties(model.metadata_props, str(file))
    template = read_chat_template(file.parent)
    name = file.resolve().parent.name
    return metadata_from(read_json(genai, GraphError), name, str(genai), template)


def _write(model: OnnxModel, folder: Path, progress: Progress) -> None:
    def report(_: ir.TensorProtocol, info: ir.external_data.CallbackInfo) -> None:
        progress.advance(info.index + 1, info.total)

    ir.save(
        model.ir,
        folder / MODEL_FILE,
        external_data=DATA_FILE,
        size_threshold_bytes=_INLINE_BYTES,
        callback=report,
        alignment=_ALIGNMENT,
        align_threshold=0,
    )
    for name, content in model.files.items():
        (folder / name).write_bytes(content)
    config = genai_config(model)
    if config is not None:
        (folder / GENAI_FILE).write_bytes(config)


def _refuse_foreign(folder: Path) -> None:
    if folder.suffix == ".onnx":
        raise GraphError(
            f"{folder}: name the folder that will hold {MODEL_FILE}, {DATA_FILE} and the tokenizer"
        )
    if folder.exists() and not folder.is_dir():
        raise GraphError(f"{folder}: is a file, expected a folder to write")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MODEL_FILE).is_file():
        raise GraphError(f"{folder}: holds other files and no earlier export; name a new or empty folder")


def _check_versions(model: ir.Model, file: Path) -> None:
    for domain, expected in (("", OPSET_VERSION), (DOMAIN, DOMAIN_VERSION)):
        found = model.graph.opset_imports.get(domain, expected if domain else None)
        if found != expected:
            name = domain or "ai.onnx"
            raise GraphError(
                f"{file}: operator set {name} version {found}, expected {expected}; export it again"
            )


def _check_tensor_versions(model: ir.Model, file: Path) -> None:
    """A graph by others: its operators as they were from opset 13 on, and ours."""
    versions = model.graph.opset_imports
    standard = versions.get("", versions.get("ai.onnx", 0))
    if not _OLDEST_OPSET <= standard <= OPSET_VERSION:
        raise GraphError(
            f"{file}: operator set ai.onnx version {standard}, expected {_OLDEST_OPSET} to {OPSET_VERSION}; "
            f"convert it with onnx.version_converter, or export it with opset_version={OPSET_VERSION}"
        )
    if versions.get(DOMAIN, DOMAIN_VERSION) != DOMAIN_VERSION:
        raise GraphError(
            f"{file}: operator set {DOMAIN} version {versions[DOMAIN]}, expected {DOMAIN_VERSION}; "
            "export it again"
        )
    bodies = {(function.domain, function.name) for function in model.functions.values()}
    for node in model.graph:
        if node.domain == DOMAIN and (node.domain, node.op_type) not in bodies:
            raise GraphError(
                f"{file}: the function {DOMAIN}::{node.op_type} of node {node.name} is missing; "
                "the file is cut off: export it again"
            )


def _check_external_data(model: ir.Model, file: Path) -> None:
    """Every external tensor lies inside a file beside the model: no ../, nothing past an end."""
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if not isinstance(tensor, ir.ExternalTensor):
            continue
        where = f"{file}: tensor {name}"
        location = str(tensor.location)
        if PurePosixPath(location).name != location or not 0 < len(location) <= _LONGEST_NAME:
            raise GraphError(f"{where} is kept in {quoted(location)}, expected a file beside the model")
        data = file.parent / location
        if not data.is_file():
            raise GraphError(f"{where} is kept in {location}, which is missing; copy it beside the model")
        end = (tensor.offset or 0) + tensor.nbytes
        if (tensor.length is not None and tensor.length != tensor.nbytes) or end > data.stat().st_size:
            raise GraphError(
                f"{where} needs {location} up to byte {end}, it has {data.stat().st_size}; copy it again"
            )


def _first_line(reason: Exception) -> str:
    return (str(reason).strip() or type(reason).__name__).splitlines()[0]
