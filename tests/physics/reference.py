"""What the physics is compared with: written apart from the package, in float64."""

import numpy as np
from scipy import constants

from ceria_data.parameters import ImageParameters
from ceria_data.slices import lay_slices
from ceria_data.waves import Specimen

LATTICE = 5.411
CERIUM, OXYGEN = 0, 1


def island(half_x, half_y, half_z):
    """CeO2 with [110] along the beam, cut to a box around the origin; positions, species."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    eighths = np.array(
        [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)]
    )
    n = int(np.ceil(max(half_x, half_y, half_z) * np.sqrt(3) / LATTICE)) + 1
    cells = np.stack(np.meshgrid(*[np.arange(-n, n)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    sites = [(cells + basis).reshape(-1, 3) for basis in (corners, eighths)]
    axes = np.array([[1, -1, 0], [0, 0, 1], [1, 1, 0]]) / np.sqrt([[2], [1], [2]])
    positions = LATTICE * np.concatenate(sites) @ axes.T
    species = np.repeat([CERIUM, OXYGEN], [len(s) for s in sites]).astype(np.uint8)
    inside = (np.abs(positions) < [half_x, half_y, half_z]).all(axis=1)
    positions, species = positions[inside], species[inside]
    positions[:, 2] -= positions[:, 2].mean()
    return positions, species


def specimen(positions, numbers, phonons=1, seed=0, rms=1.0, thickness=0.5):
    """Atoms with thermal displacements of 0.06 Å (Ce) and 0.08 Å (O), times `rms`, in slices."""
    width = rms * np.where(numbers == CERIUM, 0.06, 0.08)[:, None]
    draw = np.random.default_rng(seed).standard_normal((phonons, *positions.shape))
    return Specimen(positions + width * draw, numbers, lay_slices(positions[:, 2], thickness))


def image_parameters(**changes):
    """An aberration-corrected instrument at 60 Å overfocus, with `changes`."""
    values = {
        "number": 0,
        "energy_keV": 300.0,
        "defocus_A": -60.0,
        **dict.fromkeys(("A1_A", "A1_azimuth_deg", "B2_A", "B2_azimuth_deg"), 0.0),
        **dict.fromkeys(("A2_A", "A2_azimuth_deg"), 0.0),
        "C30_um": -9.0,
        "C50_mm": 5.0,
        "focal_spread_A": 20.0,
        "angular_spread_mrad": 0.1,
        "aperture_mrad": 40.0,
        "dose_e_per_A2": 100.0,
        "camera": "counting",
        "gain": 1.0,
        "offset": 0.0,
        "readout_noise": 0.0,
        **dict.fromkeys(("mtf_half", "ntf_half"), np.inf),
        **dict.fromkeys(("mtf_power", "ntf_power"), 2.0),
        "camera_seed": 0,
    }
    return ImageParameters(**{**values, **changes})


def momentum(energy):
    """Relativistic momentum of an electron of kinetic energy [eV], in kg m/s."""
    kinetic = energy * constants.e
    return np.sqrt(kinetic * (kinetic + 2 * constants.m_e * constants.c**2)) / constants.c


def wavelength(energy):
    """De Broglie wavelength [Å]."""
    return constants.h / momentum(energy) * 1e10


def interaction(energy):
    """Phase per projected potential, 2π m e λ / h² [1 / (V Å)]."""
    mass = constants.m_e + energy * constants.e / constants.c**2
    return 2 * np.pi * mass * constants.e * wavelength(energy) * 1e-20 / constants.h**2


def grid(shape, sampling):
    """Frequencies ky, kx of an FFT [1/Å], ready to broadcast."""
    return np.fft.fftfreq(shape[0], sampling)[:, None], np.fft.fftfreq(shape[1], sampling)[None]


def potential_slice(xy, symbols, shape, sampling, scattering_factor):
    """Projected potential (y, x) [V Å] by the plain sum over atoms of full spectra."""
    ky, kx = grid(shape, sampling)
    k2 = kx**2 + ky**2
    # V = h² / (2π m0 e) f, with f in Å: V Å².
    prefactor = constants.h**2 / (2 * np.pi * constants.m_e * constants.e) * 1e20
    spectrum = np.zeros(shape, complex)
    for (x, y), symbol in zip(xy, symbols, strict=True):
        spectrum += scattering_factor(symbol, k2) * np.exp(-2j * np.pi * (kx * x + ky * y))
    spectrum[shape[0] // 2] = spectrum[:, shape[1] // 2] = 0
    return prefactor * np.fft.ifft2(spectrum).real / sampling**2


def multislice(potentials, distances, sampling, energy):
    """Send a plane wave through slices (y, x) and after each over a distance [Å].

    Band limit 2/3 on transmission function and propagator (Kirkland, 2010, ch. 6.8).
    """
    ky, kx = grid(potentials[0].shape, sampling)
    k2 = kx**2 + ky**2
    band = np.sqrt(k2) < 0.66666 / (2 * sampling)
    wave = np.ones(potentials[0].shape, complex)
    for potential, distance in zip(potentials, distances, strict=True):
        transmission = np.fft.fft2(np.exp(1j * interaction(energy) * potential))
        wave = wave * np.fft.ifft2(band * transmission)
        propagator = np.exp(-1j * np.pi * wavelength(energy) * distance * k2)
        wave = np.fft.ifft2(band * propagator * np.fft.fft2(wave))
    return wave


def wave_error(wave, reference):
    """Error of exit waves: the plain norm would count the vacuum."""
    return np.linalg.norm(wave - reference) / np.linalg.norm(reference - 1)


def image_error(image, reference, inside):
    """Rms error over the standard deviation of the image across the particle."""
    difference = (image - reference)[inside]
    return np.sqrt(np.mean(difference**2)) / np.std(reference[inside])
