"""Recorded images: what the camera makes of an intensity."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn, irfft2, rfft2
from scipy.special import gammaln, ndtri, pdtr, xlogy

from ceria_data.parameters import Camera

_LARGEST = np.iinfo(np.uint16).max
_HALF_STEP = 2.0**-54
"""Uniform numbers are multiples of 2**-53 and may be 0, where the normal quantile is -inf."""


def record(
    intensity: NDArray[np.floating],
    dose: float,
    sampling: float,
    camera: Camera,
    seed: int,
) -> NDArray[np.uint16]:
    """Record an image with a camera.

    With λ = intensity × dose × sampling², a counting camera records::

        gain × Poisson(λ) + offset

    and an integrating one, in Fourier space::

        gain × [MTF λ + NTF (Poisson(MTF λ) - MTF λ)] + offset + read-out noise

    rounded to integers; below 0 is 0. Every pixel has random numbers of its own, by its
    position in the image: an intensity that differs in the last digit of one pixel
    changes the electrons of that pixel at most.

    Parameters
    ----------
    intensity : array of float, shape (y, x)
        1 = vacuum, integrated over the pixels. 0 everywhere is a dark frame.
    dose : float
        Electrons per area of the specimen in this exposure [e-/Å²].
    sampling : float
        Pixel size at the specimen [Å/pixel].
    camera : Camera
        A counting camera has a gain and an offset only.
    seed : int
        Key of the random numbers of this image, 0 to 2**63 - 1.

    Returns
    -------
    array of uint16, shape (y, x)

    Raises
    ------
    ValueError
        If `intensity` is negative or not finite, `dose` or `sampling` is not positive, or
        the camera is unknown or is a counting one with MTF, NTF or read-out noise.
    OverflowError
        If a pixel records more than uint16 holds.

    References
    ----------
    .. [1] Vulović et al., J. Struct. Biol. 183, 19 (2013) (MTF, NTF and gain of cameras).
    .. [2] Salmon et al., Proc. SC11 (2011) (counter-based random numbers).

    Examples
    --------
    Vacuum at 1000 e-/Å² and 0.2 Å/pixel is 40 electrons per pixel:

    >>> counts = record(np.ones((256, 256)), 1000.0, 0.2, Camera(), seed=7)
    >>> counts.dtype, round(float(counts.mean()), 1)
    (dtype('uint16'), 40.0)
    """
    _check(intensity, dose, sampling, camera)
    # Not `sample_rng`: the key was drawn there, and is stored with the sample.
    rng = np.random.Generator(np.random.Philox(key=seed))
    expected = intensity.astype(np.float64) * (dose * sampling**2)
    uniform = rng.random(expected.shape)
    if camera.kind == "counting":
        recorded = camera.gain * count(expected, uniform) + camera.offset
    else:
        signal = _blur(expected, camera.mtf_half, camera.mtf_power)
        noise = count(signal, uniform) - signal
        shape = transfer(noise.shape, camera.ntf_half, camera.ntf_power)
        noise = irfft2(rfft2(noise) * shape, s=noise.shape)
        readout = camera.readout_noise * ndtri(rng.random(signal.shape) + _HALF_STEP)
        recorded = camera.gain * (signal + noise) + camera.offset + readout
    recorded = np.maximum(np.rint(recorded), 0.0)
    if recorded.max(initial=0.0) > _LARGEST:
        raise OverflowError(
            f"a pixel records {recorded.max():.0f}, the file format holds {_LARGEST}; "
            f"lower the dose ({dose} e-/Å²), the gain or the offset"
        )
    return recorded.astype(np.uint16)


def electrons(
    counts: NDArray[np.integer] | NDArray[np.floating], camera: Camera
) -> NDArray[np.float64]:
    """Take gain and offset of a camera off again.

    Parameters
    ----------
    counts : array, shape (y, x)
        Recorded units, as from `record`.
    camera : Camera
        The one that recorded them.

    Returns
    -------
    array of float64, shape (y, x)
        Electrons: whole numbers from a counting camera, and with the read-out noise, so below 0
        too, from an integrating one.

    Examples
    --------
    >>> camera = Camera("integrating", gain=10.0, offset=100.0)
    >>> electrons(np.array([[95, 100, 125]], dtype=np.uint16), camera)
    array([[-0.5,  0. ,  2.5]])
    """
    # As float64 first: unsigned counts below an offset that is a whole number would wrap around.
    return (np.asarray(counts, dtype=np.float64) - camera.offset) / camera.gain


def count(expected: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw Poisson numbers by inverting their cumulative distribution.

    Parameters
    ----------
    expected : array of float64
        Expected numbers λ, not negative.
    uniform : array of float64
        Random numbers in [0, 1), of the same shape; 0 is taken as 2**-54.

    Returns
    -------
    array of float64
        For each pixel the smallest whole n with ``CDF(n; λ) >= uniform``.

    References
    ----------
    .. [1] Devroye, Non-Uniform Random Variate Generation (1986), ch. X.3.3 (sequential
       search from a normal guess).

    Examples
    --------
    >>> count(np.asarray([0.0, 1.0, 100.0]), np.asarray([0.5, 0.5, 0.999]))
    array([  0.,   1., 132.])
    """
    uniform = np.maximum(uniform, _HALF_STEP)
    normal = ndtri(uniform)
    # Cornish-Fisher expansion with the skewness of a Poisson distribution.
    guess = expected + np.sqrt(expected) * normal + (normal**2 - 1) / 6
    guess = np.where(expected > 0, np.maximum(np.floor(guess + 0.5), 0.0), 0.0)
    n: NDArray[np.float64] = guess.ravel()
    mean, target = expected.ravel(), uniform.ravel()
    # Transcendental functions act on whole arrays only: on a selection, the position of a
    # pixel among others could decide between vector and scalar code, and its last digit.
    cumulative = pdtr(n, mean)
    term = np.exp(xlogy(n, mean) - mean - gammaln(n + 1))
    _climb(n, mean, target, cumulative.copy(), term.copy())
    _descend(n, mean, target, cumulative, term)
    return n.reshape(expected.shape)


def mtf(frequency: NDArray[np.float64], half: float, power: float) -> NDArray[np.float64]:
    """Evaluate the modulation (or noise) transfer function of a camera.

    Parameters
    ----------
    frequency : array of float64
        Spatial frequency in units of the Nyquist frequency.
    half : float
        Where the function is 1/2; infinity makes it 1 everywhere.
    power : float
        Steepness.

    Returns
    -------
    array of float64
        ``1 / (1 + (frequency / half)**power)``.

    Examples
    --------
    >>> mtf(np.asarray([0.0, 0.5, 1.0]), half=0.5, power=2.0)
    array([1. , 0.5, 0.2])
    """
    value: NDArray[np.float64] = 1.0 / (1.0 + (frequency / half) ** power)
    return value


def transfer(shape: tuple[int, ...], half: float, power: float) -> NDArray[np.float64]:
    """Tabulate `mtf` for the real Fourier transform of an image.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x).
    half, power : float
        As in `mtf`.

    Returns
    -------
    array of float64, shape (y, x // 2 + 1)

    Examples
    --------
    >>> transfer((4, 4), half=1.0, power=2.0)[0]
    array([1. , 0.8, 0.5])
    """
    ky = 2 * np.fft.fftfreq(shape[0])[:, None]
    kx = 2 * np.fft.rfftfreq(shape[1])[None]
    return mtf(np.hypot(ky, kx), half, power)


def _blur(image: NDArray[np.float64], half: float, power: float) -> NDArray[np.float64]:
    """Apply an MTF; the image continues as its mirror image (hence the cosine transform)."""
    if np.isinf(half):
        return image
    qy, qx = (np.arange(n) / n for n in image.shape)
    blurred: NDArray[np.float64] = idctn(
        dctn(image) * mtf(np.hypot(qy[:, None], qx[None]), half, power)
    )
    blurred[blurred < 0] = 0.0
    return blurred


def _climb(
    n: NDArray[np.float64],
    mean: NDArray[np.float64],
    target: NDArray[np.float64],
    cumulative: NDArray[np.float64],
    term: NDArray[np.float64],
) -> None:
    """Raise n in place until its cumulative probability reaches the target."""
    low = np.flatnonzero(cumulative < target)
    while low.size:
        n[low] += 1
        term[low] *= mean[low] / n[low]
        before = cumulative[low]
        cumulative[low] += term[low]
        # Near 1 the sum may stop growing below the target: all that float64 can tell.
        low = low[(cumulative[low] < target[low]) & (cumulative[low] > before)]


def _descend(
    n: NDArray[np.float64],
    mean: NDArray[np.float64],
    target: NDArray[np.float64],
    cumulative: NDArray[np.float64],
    term: NDArray[np.float64],
) -> None:
    """Lower n in place while the number below it reaches the target too."""
    high = np.flatnonzero((n > 0) & (cumulative - term >= target))
    while high.size:
        cumulative[high] -= term[high]
        term[high] *= n[high] / mean[high]
        n[high] -= 1
        high = high[(n[high] > 0) & (cumulative[high] - term[high] >= target[high])]


def _check(intensity: NDArray[np.floating], dose: float, sampling: float, camera: Camera) -> None:
    """Refuse what no camera can record."""
    if not (dose > 0 and sampling > 0 and np.isfinite(dose * sampling)):
        raise ValueError(
            f"dose and sampling must be positive, got {dose} e-/Å² and {sampling} Å/pixel"
        )
    if not np.isfinite(intensity).all() or intensity.min(initial=0.0) < 0:
        raise ValueError(
            f"intensity must be finite and not negative (1 = vacuum), got values from "
            f"{intensity.min()} to {intensity.max()}; was a wave passed for its square?"
        )
    if camera.kind not in ("counting", "integrating"):
        raise ValueError(f"unknown camera {camera.kind!r}; expected counting or integrating")
    ideal = np.isinf([camera.mtf_half, camera.ntf_half]).all() and camera.readout_noise == 0
    if camera.kind == "counting" and not ideal:
        raise ValueError(
            f"a counting camera has no MTF, NTF or read-out noise, got {camera}; "
            f"leave them out or make it integrating"
        )
