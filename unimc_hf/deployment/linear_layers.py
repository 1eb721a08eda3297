"""Linear layers in float32 by oneDNN instead of MKL, where that is faster: on AMD's processors with AVX-512.

PyTorch multiplies float32 matrices with MKL, which leaves the AVX-512 of other makers' processors alone; oneDNN, with
which it multiplies bfloat16 ones, does not. Importing the package puts [`call_model`] into `UniMCForMultipleChoice`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..modeling_unimc import UniMCForMultipleChoice

# PyTorch's own compiler calls this operator for linear layers. It has no derivative.
ONEDNN_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class OneDnnLinear(TorchFunctionMode):
    """Within it, `torch.nn.functional.linear` of float32 tensors on a CPU is oneDNN's."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _is_plain(*args[:2]):
            states, weight, bias = args if len(args) == 3 else (*args, None)
            return ONEDNN_LINEAR(states, weight, bias, "none", [], "")  # type: ignore[misc]
        return func(*args, **(kwargs or {}))


def _is_plain(states: Tensor, weight: Tensor) -> bool:
    """Whether these are dense float32 tensors on a CPU with something in them, and the weight is not quantised."""
    if type(states) is not Tensor or type(weight) not in (Tensor, nn.Parameter):
        return False
    return states.dtype == weight.dtype == torch.float32 and weight.is_cpu and states.dim() > 1 and states.numel() > 0


@cache
def onednn_is_faster() -> bool:
    """Whether this processor is one for which it was measured, and PyTorch has what is needed."""
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if ONEDNN_LINEAR is None or not libraries or not hasattr(torch.cpu, "get_capabilities"):
        return False
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("avx512_f")) and str(processor.get("cpu_name")).startswith("AMD")


def call_model(model: UniMCForMultipleChoice, *args: Any, **kwargs: Any) -> Any:
    """`nn.Module.__call__`, with [`OneDnnLinear`] where it is faster and nothing is trained, compiled or traced."""
    call = super(UniMCForMultipleChoice, model).__call__
    if not onednn_is_faster() or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return call(*args, **kwargs)
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or model._compiled_call_impl is not None:
        return call(*args, **kwargs)
    with OneDnnLinear():
        return call(*args, **kwargs)


__all__ = ["OneDnnLinear", "call_model", "onednn_is_faster"]
