"""Adam (Kingma & Ba, 2015), dense; row by row it is in ``freqd.training.row_adam``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from freqd.training.row_kernels import (
    BETA1,
    BETA2,
    EPSILON,
    FloatArray,
    _step_all,
)


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


class SmallAdam:
    """Adam over small tensors on the CPU, such as a projector's: torch's takes longer in calls than these in arithmetic.

    Args:
        parameters: contiguous float32 on the CPU; one without a gradient stands still.
        learning_rate: Adam's η.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._moments = [(torch.zeros_like(p.detach()), torch.zeros_like(p.detach())) for p in self._parameters]
        self._arrays = [
            (_flat(p.detach()), _flat(moment), _flat(square))
            for p, (moment, square) in zip(self._parameters, self._moments, strict=True)
        ]
        self._steps = [0] * len(self._parameters)
        self._learning_rate = learning_rate

    def step(self) -> None:
        """Make one step and forget the gradients."""
        for n, (parameter, (weight, moment, square)) in enumerate(zip(self._parameters, self._arrays, strict=True)):
            if parameter.grad is None:
                continue
            self._steps[n] += 1
            size = self._learning_rate / (1 - BETA1 ** self._steps[n])
            correction = (1 - BETA2 ** self._steps[n]) ** -0.5
            gradient = _flat(parameter.grad.contiguous())
            _step_all(weight, gradient, moment, square, np.float32(size), np.float32(correction))
            parameter.grad = None

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        self._learning_rate = learning_rate

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by parameter and name."""
        named: dict[str, Tensor] = {}
        for n, ((moment, square), steps) in enumerate(zip(self._moments, self._steps, strict=True)):
            named |= {f"{n}.exp_avg": moment, f"{n}.exp_avg_sq": square, f"{n}.step": torch.tensor(float(steps))}
        return named

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        for n, (moment, square) in enumerate(self._moments):
            moment.copy_(state[f"{n}.exp_avg"])
            square.copy_(state[f"{n}.exp_avg_sq"])
            self._steps[n] = int(state[f"{n}.step"])


def _flat(tensor: Tensor) -> FloatArray:
    """The numbers of a tensor in a row, in its own memory."""
    array: FloatArray = tensor.view(-1).numpy()
    return array


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
