"""Aberrations of the objective lens."""

from cmath import rect
from dataclasses import dataclass
from math import radians
from typing import Any

from array_api_compat import array_namespace

from ceria_data.parameters import ImageParameters


@dataclass(frozen=True)
class Aberrations:
    """Coefficients of the wave aberration [Å].

    An aberration of m-fold symmetry is the complex number ``C exp(i m φ)`` of its
    magnitude C and azimuth φ, which runs from x (last array axis) to y.

    Attributes
    ----------
    C10 : float
        Focus, the negative of defocus.
    C12, C21, C23 : complex
        Twofold astigmatism, axial coma, threefold astigmatism.
    C30, C50 : float
        Spherical aberration of third and fifth order.
    """

    C10: float = 0.0
    C12: complex = 0.0
    C21: complex = 0.0
    C23: complex = 0.0
    C30: float = 0.0
    C50: float = 0.0


def aberrations_of(parameters: ImageParameters, z_exit: float = 0.0) -> Aberrations:
    """Convert the drawn parameters of an image to aberration coefficients.

    Parameters
    ----------
    parameters : ImageParameters
        Defocus, A1, B2, A2, C30, C50 in the units of their names.
    z_exit : float
        Plane of the exit wave relative to the plane that defocus refers to [Å]. The wave
        travels back from it, which is one more piece of underfocus.

    Returns
    -------
    Aberrations

    Examples
    --------
    >>> from ceria_data.parameters import ImageParameters
    >>> image = ImageParameters(
    ...     number=0, energy_keV=300.0, defocus_A=-60.0, A1_A=0.0, A1_azimuth_deg=0.0,
    ...     B2_A=10.0, B2_azimuth_deg=0.0, A2_A=0.0, A2_azimuth_deg=0.0, C30_um=-9.0,
    ...     C50_mm=5.0, focal_spread_A=20.0, angular_spread_mrad=0.2, aperture_mrad=40.0,
    ...     dose_e_per_A2=100.0, camera="counting", gain=1.0, offset=0.0, readout_noise=0.0,
    ...     mtf_half=1.0, mtf_power=2.0, ntf_half=1.0, ntf_power=2.0, camera_seed=0,
    ... )
    >>> aberrations_of(image, z_exit=20.0)
    Aberrations(C10=40.0, C12=0j, C21=(30+0j), C23=0j, C30=-90000.0, C50=50000000.0)
    """
    return Aberrations(
        C10=-parameters.defocus_A - z_exit,
        C12=rect(parameters.A1_A, 2 * radians(parameters.A1_azimuth_deg)),
        C21=rect(3 * parameters.B2_A, radians(parameters.B2_azimuth_deg)),
        C23=rect(parameters.A2_A, 3 * radians(parameters.A2_azimuth_deg)),
        C30=parameters.C30_um * 1e4,
        C50=parameters.C50_mm * 1e7,
    )


def wave_aberration(angle: Any, aberrations: Aberrations) -> Any:
    """Evaluate the wave aberration, as a path difference.

    ::

        W(α, φ) = Σ C_nm α**(n + 1) / (n + 1) cos(m (φ - φ_nm)),   χ = 2π W / λ

    The transfer function of the lens is ``exp(-i χ)``.

    Parameters
    ----------
    angle : array of complex
        Scattering angle ``αx + i αy`` [rad].
    aberrations : Aberrations

    Returns
    -------
    array of float
        W [Å].

    References
    ----------
    .. [1] Krivanek, Dellby and Lupini, Ultramicroscopy 78, 1 (1999) (notation C_nm);
       sign and azimuth as in `abtem.transfer.CTF`.

    Examples
    --------
    >>> import numpy as np
    >>> wave_aberration(np.asarray([0.02 + 0j, 0.02j]), Aberrations(C10=-60.0, C12=10.0))
    array([-0.01 , -0.014])
    """
    xp = array_namespace(angle)
    c, square, conjugate = aberrations, xp.abs(angle) ** 2, xp.conj(angle)
    round_part = square * (c.C10 / 2 + square * (c.C30 / 4 + square * (c.C50 / 6)))
    odd_part = (
        conjugate**2 * (c.C12 / 2) + square * conjugate * (c.C21 / 3) + conjugate**3 * (c.C23 / 3)
    )
    return round_part + xp.real(odd_part)


def ray_displacement(angle: Any, aberrations: Aberrations) -> Any:
    """Evaluate the gradient of the wave aberration: where a ray meets the object plane.

    Parameters
    ----------
    angle : array of complex
        Scattering angle ``αx + i αy`` [rad].
    aberrations : Aberrations

    Returns
    -------
    array of complex
        ``∂W/∂αx + i ∂W/∂αy`` [Å].

    Examples
    --------
    >>> import numpy as np
    >>> ray_displacement(np.asarray([0.02 + 0j]), Aberrations(C10=-60.0))
    array([-1.2+0.j])
    """
    xp = array_namespace(angle)
    c, square, conjugate = aberrations, xp.abs(angle) ** 2, xp.conj(angle)
    round_part = angle * (c.C10 + square * (c.C30 + square * c.C50))
    coma = (angle**2 * (complex(c.C21).conjugate() / 3)) + square * (2 * c.C21 / 3)
    return round_part + conjugate * c.C12 + coma + conjugate**2 * c.C23
