"""Spectra of frames, and where one frame lies relative to another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft, ifft, irfft, rfft

_FINEST = 0.4
"""Pixels are averaged up to this size [Å]: what is used of a spectrum is far from its end."""
_BAND = (0.04, 0.65)
"""Frequencies used [1/Å]: above uneven illumination, up to the reflections of 1.6 Å."""
_FADING = 0.1
"""Share of an axis over which a frame fades to its mean at each border."""
_UPSAMPLED = 5
"""The correlation is evaluated on a grid this much finer than the band needs."""
_NEWTON_STEPS = 6
_NEGLIGIBLE = 50.0
"""Logarithm of how much less probable than the best a place is that does not count."""

_ROUNDING = 1e-4
"""Correlations are off by less, relative to the sum of their amplitudes."""
_TRIED = 8
"""Rows of the grid that are evaluated first; the best place is in them, or as good as one."""

Spectrum = NDArray[np.complex64]


@dataclass(frozen=True)
class Place:
    """Where a frame lies relative to a reference, as their correlation says.

    Attributes
    ----------
    y, x : float
        Shift [Å].
    variance : float
        Of each of them, from the curvature of the likelihood [Å²].
    mean_y, mean_x, spread : float
        Mean of all places by their probability [Å], and their mean variance along an axis [Å²]:
        where several are probable, they say that it is not decided.
    strength : float
        Height of the correlation, in standard deviations of that of a frame without structure.
    """

    y: float
    x: float
    variance: float
    mean_y: float
    mean_x: float
    spread: float
    strength: float


class Spectra:
    """Makes spectra of frames of one shape, and compares them.

    Parameters
    ----------
    shape : tuple of int
        Pixels of a frame (y, x).
    sampling : float
        Å/pixel.
    """

    def __init__(self, shape: tuple[int, int], sampling: float) -> None:
        self._block = max(int(_FINEST / sampling), 1)
        self._block = min(self._block, *(max(n // 8, 1) for n in shape))
        self.sampling = self._block * sampling
        self._shape = tuple(n // self._block for n in shape)
        self._window = np.outer(*(_fading(n) for n in self._shape)).astype(np.float32)
        self._noise = float((self._window**2).sum()) / self.sampling**2
        ky, kx = (np.fft.fftfreq(n, self.sampling) for n in self._shape)
        # The half plane of real images; frequencies beyond the band are left away.
        top = min(_BAND[1], 0.5 / self.sampling)
        self._rows = np.flatnonzero(np.abs(ky) <= top)
        self._columns = np.flatnonzero((kx >= 0) & (kx <= top))
        self.ky = ky[self._rows][:, None].astype(np.float32)
        self.kx = kx[self._columns][None].astype(np.float32)
        k = np.hypot(self.ky, self.kx)
        # Frequencies with kx > 0 stand for their opposites too.
        self._weight = np.where(self.kx > 0, 2.0, 1.0) * ((k >= _BAND[0]) & (k <= top))
        self._weight = self._weight.astype(np.float32)
        # The grid on which correlations are evaluated: points along each axis, and the rows of
        # its spectrum that hold the band.
        least = (len(self._rows) + 1, 2 * len(self._columns))
        fine = [int(_UPSAMPLED * 2 * _BAND[1] * n * self.sampling) + 1 for n in self._shape]
        self._grid = (max(fine[0], least[0]), max(fine[1], least[1]))
        index = self.ky[:, 0] * self._shape[0] * self.sampling
        self._rows_of_grid = np.rint(index).astype(int)

    def of_frame(self, image: NDArray[np.floating] | NDArray[np.integer]) -> Spectrum:
        """Transform the contrast of a frame, image / mean - 1, in the band."""
        contrast = _binned(image, self._block, self._shape)
        contrast = (contrast / contrast.mean() - 1) * self._window
        # Only the columns of the band go through the second transform.
        along_x = rfft(contrast, axis=1)[:, self._columns]
        spectrum: Spectrum = fft(along_x, axis=0, overwrite_x=True)[self._rows]
        return spectrum

    def noise(self, dose: float) -> float:
        """Mean square of the noise in each frequency, of a frame of a dose [e-/Å²]."""
        return self._noise / dose

    def shifted(self, spectrum: Spectrum, y: float, x: float) -> Spectrum:
        """Move what a spectrum shows by a distance [Å]."""
        along_y = np.exp(-2j * np.pi * self.ky * y).astype(np.complex64)
        along_x = np.exp(-2j * np.pi * self.kx * x).astype(np.complex64)
        moved: Spectrum = spectrum * along_y * along_x
        return moved

    def place(
        self,
        frame: Spectrum,
        reference: Spectrum,
        reference_noise: float,
        noise: float,
        near: tuple[float, float],
        spread: float,
    ) -> Place:
        """Find the most probable shift of a frame relative to a reference.

        With a reference r that is known, the logarithm of the likelihood of a shift d is the
        correlation Σ Re[f r* exp(2πi k·d)] over the noise. Of the reference only what stands out
        of its own noise is used (a Wiener filter). Before, the shift is normally distributed
        around a place: of two that the lattice makes equal, the near one wins.

        Parameters
        ----------
        frame, reference : array of complex, as from `of_frame`
        reference_noise, noise : float
            Mean square of the noise of the reference and of the frame.
        near : tuple of float
            Expected shift (y, x) [Å].
        spread : float
            Its standard deviation [Å].

        Returns
        -------
        Place
        """
        power = np.square(np.abs(reference)) + 1e-30
        kept = reference * np.maximum(1 - reference_noise / power, 0) * self._weight
        noise = noise + reference_noise
        cross = frame * np.conj(kept) / np.float32(noise)
        (y, x), mean, apart = self._on_grid(cross, near, spread)
        highest = (y, x)
        cross = cross.astype(np.complex128)
        gain, gradient, hessian = self._expansion(cross, y, x)
        for _ in range(_NEWTON_STEPS):
            if hessian[0, 0] >= 0 or np.linalg.det(hessian) <= 0:
                break
            step = -np.linalg.solve(hessian, gradient)
            step *= min(1.0, 0.2 / max(float(np.hypot(*step)), 1e-9))
            y, x = y + float(step[0]), x + float(step[1])
            gain, gradient, hessian = self._expansion(cross, y, x)
            if np.abs(step).max() < 1e-4:
                break
        expected = float((np.square(np.abs(kept)) / np.maximum(self._weight, 1e-9)).sum()) / noise
        curvature = -float(np.linalg.eigvalsh(hessian)[-1])
        variance = 1 / curvature if curvature > 0 else np.inf
        strength = gain / np.sqrt(expected) if expected > 0 else 0.0
        mean_y, mean_x = (at + (m - h) for at, m, h in zip((y, x), mean, highest, strict=True))
        return Place(y, x, variance, mean_y, mean_x, variance + apart, strength)

    def _on_grid(
        self, cross: NDArray[np.complex64], near: tuple[float, float], spread: float
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Find the best place on a grid, the mean of all by their probability, its variance."""
        sizes = self._grid
        distance = []
        for n, size, middle in zip(self._shape, sizes, near, strict=True):
            length = n * self.sampling
            offset = np.arange(size) * (length / size) - middle
            distance.append(offset - length * np.rint(offset / length))
        # Conjugated: the correlation is wanted at +d, and the transform back has exp(+2πi k·d).
        half = cross * np.where(self.kx > 0, 0.5, 1.0)
        rows, score = self._likely_rows(half, distance, spread)
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        # What is less probable by this factor is lost in the rounding of the sums.
        kept = np.flatnonzero(score > score[row, column] - _NEGLIGIBLE)
        likely = np.divmod(kept, sizes[1])
        likely = (rows[likely[0]], likely[1])
        p = np.exp(score.ravel()[kept] - score[row, column])
        p /= p.sum()
        marginal = [np.bincount(at, p, size) for at, size in zip(likely, sizes, strict=True)]
        mean = [float(m @ d) for m, d in zip(marginal, distance, strict=True)]
        apart = [
            float(m @ (d - at) ** 2) - 0.25 * (n * self.sampling / size) ** 2
            for m, d, at, n, size in zip(marginal, distance, mean, self._shape, sizes, strict=True)
        ]
        best = (near[0] + float(distance[0][rows[row]]), near[1] + float(distance[1][column]))
        return best, (near[0] + mean[0], near[1] + mean[1]), max(sum(apart) / 2, 0.0)

    def _likely_rows(
        self, cross: NDArray[np.complex64], distance: list[NDArray[np.float64]], spread: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Evaluate the likelihood on the rows of the grid that can hold a probable place.

        Parameters
        ----------
        cross : array of complex64
            On the band.
        distance : list of array of float64, shape (y,) and (x,)
            Of the grid from the expected place [Å].
        spread : float
            Å.

        Returns
        -------
        array of int64, shape (row,)
            Ascending.
        array of float64, shape (row, x)
            Logarithm of the likelihood there.
        """
        padded = np.zeros((self._grid[0], cross.shape[1]), dtype=np.complex64)
        padded[self._rows_of_grid] = cross
        spectra = ifft(padded, axis=0, norm="forward", overwrite_x=True)
        points = self._grid[0] * self._grid[1]

        def score(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            fine = np.zeros((len(rows), self._grid[1] // 2 + 1), dtype=np.complex64)
            fine[:, : cross.shape[1]] = spectra[rows]
            gain = irfft(fine, n=self._grid[1], axis=1, norm="forward", overwrite_x=True)
            # Rounded as by the transform of a whole grid, which divides by its points.
            gain *= np.float32(1 / points)
            gain *= np.float32(points)
            penalty = 0.5 * (distance[0][rows, None] ** 2 + distance[1] ** 2) / spread**2
            likelihood: NDArray[np.float64] = gain - penalty
            return likelihood

        # No place of a row correlates better than the amplitudes of its frequencies add up to.
        amplitude = np.abs(spectra)
        most = 2 * amplitude.sum(axis=1, dtype=np.float64) - amplitude[:, 0]
        most = most * (1 + _ROUNDING) - 0.5 * distance[0] ** 2 / spread**2
        promising = np.argsort(-most, kind="stable")[:_TRIED]
        least = score(promising).max() - _NEGLIGIBLE - 1
        rows = np.flatnonzero(most > least)
        return rows, score(rows)

    def _expansion(
        self, cross: NDArray[np.complex128], y: float, x: float
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the logarithm of the likelihood at a shift, and its first two derivatives."""
        along_y = np.exp(2j * np.pi * self.ky[:, 0].astype(np.float64) * y)
        along_x = np.exp(2j * np.pi * self.kx[0].astype(np.float64) * x)
        ky, kx = 2j * np.pi * self.ky[:, 0], 2j * np.pi * self.kx[0]
        columns = np.stack([along_x, along_x * kx, along_x * kx**2], axis=1)
        rows = np.stack([along_y, along_y * ky, along_y * ky**2])
        terms = (rows @ (cross @ columns)).real
        gradient = np.array([terms[1, 0], terms[0, 1]])
        hessian = np.array([[terms[2, 0], terms[1, 1]], [terms[1, 1], terms[0, 2]]])
        return float(terms[0, 0]), gradient, hessian


def _fading(n: int) -> NDArray[np.float64]:
    """Weights that rise from 0 at the borders to 1."""
    from_border = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / (_FADING * n)
    weights: NDArray[np.float64] = np.sin(0.5 * np.pi * np.minimum(from_border, 1)) ** 2
    return weights


def _binned(
    image: NDArray[np.floating] | NDArray[np.integer], block: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Average squares of pixels; sums of whole arrays take a fifth of the time of `mean`."""
    ny, nx = shape
    parts = np.asarray(image[: block * ny, : block * nx], dtype=np.float32)
    parts = parts.reshape(-1, nx, block)
    along_x = parts[:, :, 0].copy()
    for k in range(1, block):
        along_x += parts[:, :, k]
    rows = along_x.reshape(ny, block, nx)
    total = rows[:, 0].copy()
    for k in range(1, block):
        total += rows[:, k]
    total /= np.float32(block**2)
    return total
