"""What the counted electrons can tell at best about where along the beam a column stands.

A column of known count whose atoms follow each other without gaps has one depth: its first and
its last atom move together, and the error of either is that of the depth.
"""

from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from ceria_data import mkl
from ceria_data.devices import to_host
from ceria_data.grid import cell_around
from ceria_data.optics import form_image
from ceria_data.parameters import ImageParameters
from ceria_data.patch import Patch, specimen_in
from ceria_data.scattering import exit_waves
from ceria_data.slices import Slices
from ceria_data.waves import ScatteringSettings, Specimen

Floats = NDArray[np.float64]

ALONG = 0.5
"""A column is moved so far to either side along the beam for the derivative of its image [Å]."""
ACROSS = 0.05
"""The same across the beam [Å]."""
_REACH = 8.0
"""Errors of more standard deviations are left out."""


@dataclass(frozen=True)
class ColumnMoves:
    """What an image changes by when one of its columns is moved.

    Attributes
    ----------
    intensity : array of float64, shape (y, x)
        Before the camera; 1 = vacuum.
    along : array of float64, shape (y, x)
        Change of intensity per shift of the column towards the exit face [1/Å].
    across : array of float64, shape (2, y, x)
        The same along x and along y [1/Å].
    ends : array of float64, shape (2, y, x)
        Change by the first and by the last atom along the beam.
    steps : array of float64, shape (2, y, x)
        Change when the column goes one repeat of its atoms towards the exit face, and towards
        the entrance face.
    """

    intensity: Floats
    along: Floats
    across: Floats
    ends: Floats
    steps: Floats


def along_beam(specimen: Specimen, atoms: NDArray[np.intp], distance: float) -> Specimen:
    """Move some atoms along the beam, and no other.

    Parameters
    ----------
    specimen : Specimen
    atoms : array of int, shape (moved,)
    distance : float
        Å, towards the exit face.

    Returns
    -------
    Specimen
        The atoms stand on planes of their own; those without atoms are gone.

    Examples
    --------
    >>> from ceria_data.slices import lay_slices
    >>> positions = np.array([[[1.0, 1.0, 0.0], [3.0, 1.0, 0.1], [3.0, 1.0, 4.0]]])
    >>> slices = lay_slices(positions[0, :, 2], thickness=0.5)
    >>> two = Specimen(positions, np.zeros(3, np.uint8), slices)
    >>> moved = along_beam(two, np.array([1, 2]), 1.0)
    >>> moved.slices.z, moved.slices.member
    (array([0.05, 1.05, 5.  ]), array([0, 1, 2]))
    """
    slices, positions = specimen.slices, specimen.positions.copy()
    positions[:, atoms, 2] += distance
    planes, theirs = np.unique(slices.member[atoms], return_inverse=True)
    depths = np.concatenate([slices.z, slices.z[planes] + distance])
    member = slices.member.copy()
    member[atoms] = len(slices.z) + theirs
    order = np.argsort(depths, kind="stable")
    places = np.argsort(order)
    moved = Slices(places[member], depths[order]).of(np.ones(len(member), np.bool_))
    return replace(specimen, positions=positions, slices=moved)


def column_moves(
    whole: Specimen,
    atoms: NDArray[np.intp],
    repeat: float,
    patch: Patch,
    image: ImageParameters,
    settings: ScatteringSettings,
) -> ColumnMoves:
    """Compute what an image changes by when a column is moved, with the image's own optics.

    All columns moved together are a change of focus: an image does not tell the height of a
    particle from its defocus, only the depths of its columns against each other.

    Parameters
    ----------
    whole : Specimen
        In the coordinates of the field, with as many thermal configurations as are wanted.
    atoms : array of int, shape (atom,)
        Those of the column.
    repeat : float
        Distance of neighbouring atoms of the column along the beam [Å].
    patch : Patch
        Around the column, from `patch.patch_around`.
    image : ImageParameters
    settings : ScatteringSettings
        From `patch.patch_settings`.

    Returns
    -------
    ColumnMoves
        On the pixels of the patch.

    Examples
    --------
    An atom in vacuum: moving it is focusing.

    >>> from ceria_data.parameters import ImageParameters
    >>> from ceria_data.patch import patch_around, patch_settings
    >>> from ceria_data.slices import lay_slices
    >>> image = ImageParameters(
    ...     number=0, energy_keV=300.0, defocus_A=-60.0, A1_A=0.0, A1_azimuth_deg=0.0,
    ...     B2_A=0.0, B2_azimuth_deg=0.0, A2_A=0.0, A2_azimuth_deg=0.0, C30_um=-9.0,
    ...     C50_mm=5.0, focal_spread_A=20.0, angular_spread_mrad=0.0, aperture_mrad=40.0,
    ...     dose_e_per_A2=100.0, camera="counting", gain=1.0, offset=0.0, readout_noise=0.0,
    ...     mtf_half=1.0, mtf_power=2.0, ntf_half=1.0, ntf_power=2.0, camera_seed=0,
    ... )
    >>> atom = np.array([[[10.0, 12.0, 0.0]]])
    >>> one = Specimen(atom, np.zeros(1, np.uint8), lay_slices(atom[0, :, 2], 0.5))
    >>> patch = patch_around(10.0, 12.0, sampling=0.2)
    >>> settings = patch_settings(ScatteringSettings())
    >>> moves = column_moves(one, np.array([0]), 3.826, patch, image, settings)
    >>> under, over = (
    ...     column_moves(one, np.array([0]), 3.826, patch, each, settings).intensity
    ...     for each in (replace(image, defocus_A=-59.5), replace(image, defocus_A=-60.5))
    ... )
    >>> bool(np.allclose(moves.along, under - over, atol=1e-5))
    True
    """
    last = whole.positions[:, atoms, 2].mean(axis=0).argsort(kind="stable")
    moved = [
        whole,
        *(along_beam(whole, atoms, distance) for distance in (ALONG, -ALONG, repeat, -repeat)),
        *(
            _across(whole, atoms, axis, distance)
            for axis in (0, 1)
            for distance in (ACROSS, -ACROSS)
        ),
        *(_without(whole, atoms[last[end]]) for end in (0, -1)),
    ]
    cell = cell_around(patch.field, settings.sampling_A, settings.padding_A)
    near = [specimen_in(patch, each, settings) for each in moved]
    with mkl.one_thread(settings.library == "mkl"), threadpool_limits(limits=1):
        waves = exit_waves(near, cell, settings)
    images = np.stack(
        [to_host(form_image(wave, image, patch.field)).astype(np.float64) for wave in waves]
    )
    intensity = images[0]
    return ColumnMoves(
        intensity=intensity,
        along=(images[1] - images[2]) / (2 * ALONG),
        across=(images[[5, 7]] - images[[6, 8]]) / (2 * ACROSS),
        ends=intensity - images[9:],
        steps=images[3:5] - intensity,
    )


def lattice_error(
    information: float, step: float, middle: float = 0.0, spread: float = inf
) -> float:
    """Give the expected error of a depth that is known to be on a lattice.

    The column's middle is at z, its other places are whole steps away, and beforehand all
    middles are normally distributed about 0. The best estimate is normally distributed about z.
    The most probable place is then the one nearest to the estimate drawn towards 0 by
    ``g = F / (F + 1/spread²)``, and it is off by k steps if that lies k - 1/2 to k + 1/2 steps
    from z.

    Parameters
    ----------
    information : float
        F, that of the depth [1/Å²]: 1 over the variance of the best estimate.
    step : float
        Distance of places [Å].
    middle : float
        z [Å].
    spread : float
        Standard deviation of middles [Å]; infinite if nothing is known beforehand.

    Returns
    -------
    float
        Root mean square [Å]; infinite if nothing is known at all.

    Examples
    --------
    Two steps of 2 Å to the standard deviation: hardly more than without a lattice. And a
    column at the middle, where all are thought to be, is placed without any electron.

    >>> round(lattice_error(1 / 16.0, step=2.0), 2), round(lattice_error(4.0, step=2.0), 4)
    (4.04, 0.4266)
    >>> lattice_error(0.0, step=3.8, spread=1.0), lattice_error(0.0, step=3.8, middle=3.8, spread=1)
    (0.0, 3.8)
    """
    before = spread**-2
    if information + before <= 0:
        return inf
    trust = information / (information + before)
    off, sigma = -middle * (1 - trust), sqrt(information) / (information + before)
    nearest = round(off / step)
    if sigma == 0:
        return float(abs(nearest) * step)
    reach = round(_REACH * sigma / step) + 1
    k = np.arange(nearest - reach, nearest + reach + 1)
    limits = (np.append(k, k[-1] + 1) - 0.5) * step
    shares = np.diff(ndtr((limits - off) / sigma))
    return float(step * sqrt((k**2 * shares).sum()))


def _across(whole: Specimen, atoms: NDArray[np.intp], axis: int, distance: float) -> Specimen:
    positions = whole.positions.copy()
    positions[:, atoms, axis] += distance
    return replace(whole, positions=positions)


def _without(whole: Specimen, atom: np.intp) -> Specimen:
    kept = np.ones(len(whole.numbers), np.bool_)
    kept[atom] = False
    return whole.of(kept)
