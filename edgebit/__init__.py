"""edgebit compiles BitNet b1.58 ternary language models into bundles that run by themselves on a device.

The functions here carry everything the command line does: `compile`, `wheel`, `export`, `quantize`, `load`.
Their imports are deferred: `import edgebit` costs nothing until one of them is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebit.errors import EdgebitError
from edgebit.progress import SILENT, Progress
from edgebit.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from torch.nn import Module

    from edgebit.model import Overrides
    from edgebit.model.packing import Packed
    from edgebit.runtime import Model

__all__ = ["EdgebitError", "compile", "export", "export_torch", "load", "quantize", "wheel"]
__version__ = VERSION


def compile(  # noqa: A001 - the word for it; `edgebit.compile` shadows nothing outside this module
    model: str | Path | None = None,
    target: str = "host",
    output: str | Path | None = None,
    context: int | None = None,
    progress: Progress = SILENT,
    head: str = "auto",
    kv: str = "f16",
    overrides: Overrides | None = None,
    dims: Mapping[str, int] | None = None,
) -> Path:
    """Compile a model into a bundle folder and return the folder.

    `model` is a checkpoint folder, a .gguf file, a Hugging Face repo id or an .onnx file (exported or yours);
    None is the built-in model. `output` defaults to `<model name>-<target>` in the current folder, `context`
    (tokens) to what the model was trained for. `head`: how the lm_head is kept, see `edgebit compile --help`;
    `kv`: the KV cache, "f16" or "int8". What changes results, int8 alone, is measured and told as a warning.
    `overrides`: what a .gguf file leaves out (edgebit.model.Overrides). `dims`: sizes of the named dimensions
    of a graph of tensors, {"batch": 1}. Raises EdgebitError; an error leaves no folder behind and an existing
    bundle as it was.
    """
    from edgebit.model import AS_THE_FILE_SAYS
    from edgebit.pipeline import compile_bundle

    known = overrides or AS_THE_FILE_SAYS
    return compile_bundle(model, target, output, context, head, kv, progress, known, dims)


def wheel(bundle: str | Path, folder: str | Path | None = None, progress: Progress = SILENT) -> Path:
    """Write a bundle as a Python wheel into `folder` (None: beside the bundle) and return its path.

    pip installs it on the bundle's devices and refuses it elsewhere. Raises EdgebitError.
    """
    from edgebit.bundle.wheel import write_wheel

    place = Path(bundle).resolve()
    return write_wheel(place, place.parent if folder is None else Path(folder), progress)


def export(
    model: str | Path | None,
    output: str | Path,
    progress: Progress = SILENT,
    overrides: Overrides | None = None,
    flavor: str = "edgebit",
) -> Path:
    """Write the ONNX graph of a checkpoint, weights and tokenizer beside it. Raises EdgebitError.

    `flavor` "edgebit": exact, in operators that are functions of standard ones; "matmulnbits": with
    onnxruntime's own fast operator of two bits, which rounds activations once more. Both compile to the same
    bundle.
    """
    from edgebit.model import AS_THE_FILE_SAYS
    from edgebit.pipeline import export_graph

    return export_graph(model, output, progress, overrides or AS_THE_FILE_SAYS, flavor)


def quantize(
    model: str | Path,
    output: str | Path,
    progress: Progress = SILENT,
    overrides: Overrides | None = None,
) -> Packed:
    """Write a checkpoint whose float weights are ternary in the packed layout, into the new folder `output`.

    What is written compiles to the same logits. Raises EdgebitError, with the measured error, for weights
    that are not ternary; an error leaves nothing behind.
    """
    from edgebit.model import AS_THE_FILE_SAYS
    from edgebit.model.packing import pack_checkpoint

    return pack_checkpoint(model, output, progress, overrides or AS_THE_FILE_SAYS)


def export_torch(
    module: Module,
    example_inputs: Tensor | Sequence[Tensor],
    path: str | Path,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_shapes: Any = None,
) -> Path:
    """Write a torch module with layers of edgebit.nn to an .onnx file that `compile` takes.

    Shapes are those of `example_inputs`, but for dimensions that `dynamic_shapes` names, as torch.onnx.export
    takes them: `compile` gives these a size. Needs the extra `edgebit[torch]`. Raises EdgebitError.
    """
    try:
        from edgebit.nn import export_torch as export_module
    except ImportError as error:
        raise EdgebitError(f"export_torch needs torch ({error}): pip install 'edgebit[torch]'") from error
    return export_module(module, example_inputs, path, input_names, output_names, dynamic_shapes)


def load(bundle: str | Path, threads: int | None = None, verify: bool = False) -> Model:
    """Open a bundle on this machine with the same loader that travels to the device.

    `threads` None lets the runtime choose; `verify` checks the sha256 of the largest files too. Raises
    edgebit.runtime.RuntimeModelError, as the model does: IntegrityError where the bundle is damaged or for
    another CPU.
    """
    from edgebit.runtime import load as load_bundle

    return load_bundle(bundle, threads, verify)
