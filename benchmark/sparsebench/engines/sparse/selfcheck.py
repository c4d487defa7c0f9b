"""Before an instruction set is first used, a tiny network is run with it and compared with plain numpy, in doubles."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view

from .graph import Clamp, Convolution, Layer, Mean, Network, Pool, Value, Window
from .library import Isa, Team
from .program import Program, io_for
from .tuning import Tuner

_IMAGES, _CHANNELS, _OUTPUTS = 3, 3, 14
_HEIGHT, _WIDTH = 9, 19
_ENOUGH = 1e-4  # largest difference over the largest value

Doubles = npt.NDArray[np.float64]


@cache
def fault(isa: Isa) -> str | None:
    """Return what is wrong with an instruction set on this machine, or None; found out once in a process."""
    try:
        difference = _difference(isa)
    except Exception as error:  # whatever it is, these kernels are better left alone
        return f"{type(error).__name__}: {error}"
    return None if difference <= _ENOUGH else f"it is off by {difference:.2g} of the largest value"


def _difference(isa: Isa) -> float:
    network, expected = _network(images := _random(_IMAGES, _CHANNELS, _HEIGHT, _WIDTH))
    team = Team(1)
    try:
        program = Program(network, isa, team, Tuner(1, measure=False))
        found = np.full(expected.shape, np.nan, np.float32)
        program.run(io_for(torch.from_numpy(images), found, 0, _IMAGES, np.zeros(_IMAGES, np.int32)))
    finally:
        team.close()
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    return float("inf") if np.isnan(difference) else float(difference)


def _network(images: npt.NDArray[np.float32]) -> tuple[Network, Doubles]:
    """Return a dense layer, a strided depthwise one, pairs with a residual, a pool, a mean; and the features."""
    layers: list[Layer] = []
    source = Value(_CHANNELS, _HEIGHT, _WIDTH)

    def convolve(x: Value, data: Doubles, kernel: int, stride: int, groups: int, keep: float) -> tuple[Value, Doubles]:
        weight = _random(_OUTPUTS, x.channels // groups, kernel, kernel)
        weight[np.abs(weight) > 2 * keep] = 0
        bias, pad = _random(_OUTPUTS), kernel // 2
        padded = np.pad(data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        seen = sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        seen = seen.reshape(_IMAGES, groups, -1, *seen.shape[2:])
        parts = weight.astype(np.float64).reshape(groups, _OUTPUTS // groups, -1, kernel, kernel)
        sums = np.einsum("ngchwij,gocij->ngohw", seen, parts).reshape(_IMAGES, _OUTPUTS, *seen.shape[3:5])
        y = Value(_OUTPUTS, *sums.shape[2:])
        window = Window((kernel, kernel), stride, pad, pad)
        layers.append(Convolution(name="", x=x, y=y, weight=weight, bias=bias, window=window, groups=groups))
        return y, sums + bias[:, None, None]

    first, a = convolve(source, images.astype(np.float64), 3, 1, 1, keep=1)
    layers[-1].clamp, a = Clamp(0), a.clip(0)
    second, b = convolve(first, a, 3, 2, _OUTPUTS, keep=0.7)
    third, c = convolve(second, b, 1, 1, 1, keep=0.5)
    layers[-1].residual, layers[-1].clamp, c = second, Clamp(0, 6), (c + b).clip(0, 6)
    pooled, out = Value(_OUTPUTS, third.height - 1, third.width - 1), Value(_OUTPUTS, 1, 1)
    limits = (third.height, third.width)
    layers.append(Pool(name="", x=third, y=pooled, kind="max", window=Window((2, 2)), limits=limits))
    layers.append(Mean(name="", x=pooled, y=out))
    return Network(layers, source, out), sliding_window_view(c, (2, 2), (2, 3)).max((4, 5)).mean((2, 3))


def _random(*shape: int) -> npt.NDArray[np.float32]:
    """Return numbers from -2 to 2, the same ones each time, without touching anyone's generator."""
    return np.random.default_rng(shape).uniform(-2, 2, shape).astype(np.float32)
