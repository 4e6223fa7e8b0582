"""Adam (Kingma & Ba, 2015), dense; row by row it is in ``freqd.training.row_adam``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from freqd.training.row_kernels import BETA1, BETA2, EPSILON


class Optimizer(Protocol):
    """Updates parameters from the gradients that were gathered since the last step."""

    def step(self) -> None:
        """Make one step and forget the gradients."""
        ...

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on as if it had never stopped (but the parameters themselves)."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        ...


class DenseAdam:
    """torch's fused Adam over whole tensors: one pass over parameter, gradient and moments."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._adam = (
            torch.optim.Adam(
                self._parameters,
                lr=learning_rate,
                betas=(BETA1, BETA2),
                eps=EPSILON,
                fused=True,
            )
            if self._parameters
            else None
        )

    def step(self) -> None:
        """Make one step and forget the gradients."""
        if self._adam is not None and any(parameter.grad is not None for parameter in self._parameters):
            self._adam.step()
            self._adam.zero_grad(set_to_none=True)

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        for group in self._adam.param_groups if self._adam is not None else ():
            group["lr"] = learning_rate

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by parameter and name."""
        if self._adam is None:
            return {}
        return {
            f"{n}.{name}": value
            for n, parameter in enumerate(self._parameters)
            for name, value in self._adam.state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        if self._adam is None:
            return
        for n, parameter in enumerate(self._parameters):
            prefix = f"{n}."
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if own:
                self._adam.state[parameter] = {name: value.to(parameter.device).clone() for name, value in own.items()}
