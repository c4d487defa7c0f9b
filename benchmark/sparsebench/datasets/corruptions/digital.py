"""Digital: contrast, elastic deformation, coarse pixels, and JPEG's compression."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from .arrays import Pixels, fractions, pixels_of


def contrast(pixels: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """Shrink the differences from the mean of each channel to a share."""
    values = fractions(pixels)
    mean = values.mean(axis=(0, 1), keepdims=True)
    return pixels_of((values - mean) * share + mean)


def elastic_transform(pixels: Pixels, stretch: tuple[float, float, float], random: np.random.Generator) -> Pixels:
    """Deform: a random affine map, then smooth random displacements (Simard et al., 2003).

    ``stretch`` is (largest displacement before smoothing, sd of the smoothing, how far the three points that define the
    affine map move), as fractions of the side.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    size = pixels.shape[0]
    height, sd, move = (size * part for part in stretch)
    values = fractions(pixels).astype(np.float32)
    grid = np.mgrid[:size, :size].astype(np.float64)  # rows, columns
    straight = _affine(size, move, random, grid)
    shaped = [map_coordinates(values[..., k], straight, order=1, mode="mirror") for k in range(3)]
    noise = random.uniform(-1.0, 1.0, size=(2, size, size))
    bent = grid + height * gaussian_filter(noise, (0, sd, sd), mode="reflect", truncate=3.0)
    return pixels_of(np.stack([map_coordinates(one, bent, order=1, mode="reflect") for one in shaped], axis=2))


def _affine(
    size: int, move: float, random: np.random.Generator, grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return where each pixel (row, column) of the map's image comes from, shape (2, S, S)."""
    centre, side = size // 2, size // 3
    points = centre + side * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    moved = points + random.uniform(-move, move, size=(3, 2))
    # columns first, as in the published definition
    back = np.linalg.solve(np.hstack([moved, np.ones((3, 1))]), points)  # shape (3, 2)
    columns, rows = (grid[1] * back[0, k] + grid[0] * back[1, k] + back[2, k] for k in (0, 1))
    return np.stack([rows, columns])


def pixelate(pixels: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """Reduce to a share of the side and enlarge again, both by averaging over boxes."""
    size = pixels.shape[0]
    small = max(1, int(size * share))
    coarse = Image.fromarray(pixels).resize((small, small), Image.Resampling.BOX)
    return np.asarray(coarse.resize((size, size), Image.Resampling.BOX))


def jpeg_compression(pixels: Pixels, quality: int, random: np.random.Generator) -> Pixels:
    """Compress as JPEG at a quality (Pillow's scale)."""
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=quality)
    with Image.open(packed) as unpacked:
        return np.asarray(unpacked.convert("RGB"))
