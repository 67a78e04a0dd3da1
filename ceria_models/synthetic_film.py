"""Films of readings with known truth, as a net that sees each count through Gaussian noise.

The distance of neighbouring counts is d', as of the ideal observer (see docs/physics.md): with
a unit step the noise of one frame is 1 / d'. A share of the columns is read with a constant
offset of one atom in all frames, as optics that a net takes for others would do.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.crystal import CERIUM
from ceria_data.grid import Field, cell_around
from ceria_data.particle import build_structure, perfect
from ceria_data.schema import SPECIES
from ceria_models.film_tables import FACTS, FRAMES, READINGS, SITES

Floats = NDArray[np.float64]
_FIELD = Field((400, 400), 0.2)
_REPEAT = 3.826
_PLANE = 1.913
_CE_REACH, _O_REACH = 4.0, 2.8
EVENTS = (
    "kind", "species", "time_s", "frame", "site_from", "site_to",
)  # fmt: skip


@dataclass(frozen=True)
class SyntheticFilm:
    """A film of readings and its truth.

    Attributes
    ----------
    sites, frames : DataFrame
    p : array of float32, shape (site, frame, class)
        Probabilities that a single frame gives, calibrated under `prior`.
    d2 : array of float64, shape (site,)
        Squared d' of one frame.
    x : array of float64, shape (site, frame)
        The noisy counts that the readings come from.
    z : array of float32, shape (site, frame)
        Mean depth, as read [Å].
    prior : dict of str to array of float64, shape (class,)
        Of the net, by species.
    truth : array of int64, shape (site, frame)
    events : DataFrame
        As `EVENTS`.
    """

    sites: pd.DataFrame
    frames: pd.DataFrame
    p: NDArray[np.float32]
    d2: Floats
    x: Floats
    z: NDArray[np.float32]
    prior: dict[str, Floats]
    truth: NDArray[np.int64]
    events: pd.DataFrame

    def write(self, folder: Path) -> Path:
        """Write the tables of a predicted film, and the truth beside them."""
        folder.mkdir(parents=True, exist_ok=True)
        n_sites, n_frames, classes = self.p.shape
        frame, site = (v.ravel() for v in np.mgrid[:n_frames, :n_sites])
        readings = {"frame": frame, "site": site}
        readings |= {f"p_{n}": self.p[site, frame, n] for n in range(classes)}
        readings["z_mean_A"] = self.z[site, frame]
        readings["z_spread_A"] = np.full(len(site), 2.0, dtype=np.float32)
        table = pd.DataFrame(readings)
        table = table[np.isfinite(table["p_0"])]
        table.to_parquet(folder / READINGS, index=False, row_group_size=64 * max(n_sites, 1))
        self.sites.to_parquet(folder / SITES, index=False)
        self.frames.to_parquet(folder / FRAMES, index=False)
        facts = {"sampling_A": 0.2, "shape": list(_FIELD.shape), "frame_time_s": None}
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        return folder


def synthetic_sites(columns: int, seed: int, kind: str = "irregular") -> pd.DataFrame:
    """Make the sites of a small particle on [110], turned and slightly out of place.

    Parameters
    ----------
    columns : int
        How many of the particle, those nearest to its middle.
    seed : int
    kind : str
        As `shapes.KINDS`.

    Returns
    -------
    DataFrame
        site, species, x_A, y_A, n_frames_seen, source; and the truth ``sites`` (atoms),
        ``z_mean_A``, ``surface``, ``site_id`` of the perfect particle.

    Examples
    --------
    >>> sites = synthetic_sites(columns=30, seed=0)
    >>> len(sites), set(sites["species"]) == {"Ce", "O"}
    (30, True)
    """
    rng = np.random.default_rng(seed)
    pose = {"rotation_deg": float(rng.uniform(0, 360)), "number": seed}
    structure = build_structure(
        perfect(kind, 7, **pose), _FIELD, cell_around(_FIELD, 0.1, 4.0), seed=seed
    )
    own = structure.columns
    away = np.hypot(*(own.position - np.array(_FIELD.centre)).T)
    chosen = np.sort(np.argsort(away, kind="stable")[:columns])
    column = np.searchsorted(own.site_id, structure.site_id)
    depth = np.bincount(column, structure.positions[:, 2], len(own.site_id)) / np.maximum(
        np.bincount(column, minlength=len(own.site_id)), 1
    )
    places = own.position[chosen] + rng.normal(scale=0.08, size=(len(chosen), 2))
    return pd.DataFrame({
        "site": np.arange(len(chosen)),
        "species": np.where(own.species[chosen] == CERIUM, "Ce", "O"),
        "x_A": places[:, 0],
        "y_A": places[:, 1],
        "n_frames_seen": 1,
        "source": "sum",
        "sites": own.sites[chosen],
        "z_mean_A": depth[chosen],
        "surface": own.surface[chosen],
        "site_id": own.site_id[chosen],
    })  # fmt: skip


def synthetic_film(
    *,
    n_frames: int,
    columns: int = 40,
    frame_time_s: float = 1 / 30,
    dose: float = 300.0,
    d2: tuple[float, float] = (12.0, 1.26),
    rates_per_s: tuple[float, float, float] = (0.0, 0.0, 0.0),
    biased: float = 0.0,
    max_count: int = 14,
    seed: int = 0,
) -> SyntheticFilm:
    """Draw a film of readings of a particle whose columns change at known rates.

    Parameters
    ----------
    n_frames, columns : int
    frame_time_s : float
    dose : float
        e-/Å², written into the frames.
    d2 : tuple of float
        Squared d' of one frame for a Ce and an O atom; by default those of 300 e-/Å².
    rates_per_s : tuple of float
        Per column: losses, gains, hops to a neighbour, each of one atom.
    biased : float
        Share of the columns read with one atom too many, and as many with one too few.
    max_count : int
        K.
    seed : int

    Returns
    -------
    SyntheticFilm

    Examples
    --------
    >>> film = synthetic_film(n_frames=20, columns=10, rates_per_s=(1.0, 0.0, 0.0))
    >>> film.p.shape, set(film.events["kind"]) <= {"departure", "vacancy_creation"}
    ((10, 20, 15), True)
    """
    rng = np.random.default_rng(seed)
    sites = synthetic_sites(columns, seed)
    time = np.arange(n_frames) * frame_time_s
    truth, events = _moved(
        sites, time + frame_time_s / 2, frame_time_s, rates_per_s, max_count, rng
    )
    is_cerium = (sites["species"] == "Ce").to_numpy()
    squared = np.where(is_cerium, *d2) * rng.uniform(0.7, 1.3, len(sites))
    offset = rng.choice([-1, 0, 1], len(sites), p=[biased, 1 - 2 * biased, biased])
    read = np.where(truth == 0, 0, np.clip(truth + offset[:, None], 1, max_count))
    x = read + rng.normal(size=truth.shape) / np.sqrt(squared)[:, None]
    prior = _priors(max_count)
    of_site = np.stack([prior[name] for name in sites["species"]])
    p = _probabilities(x, squared, of_site, biased, max_count)
    z = sites["z_mean_A"].to_numpy()[:, None] + rng.normal(scale=2.0, size=truth.shape)
    frames = pd.DataFrame({
        "frame": np.arange(n_frames), "time_s": time, "dose_e_per_A2": dose,
        "drift_x_A": 0.0, "drift_y_A": 0.0,
    })  # fmt: skip
    return SyntheticFilm(sites, frames, p, squared, x, z.astype(np.float32), prior, truth, events)


def _priors(max_count: int) -> dict[str, Floats]:
    """Priors of a net that saw thin columns more often than thick ones."""
    falling = np.append(0.1, np.exp(-0.1 * np.arange(1, max_count + 1)))
    falling[1:] *= 0.9 / falling[1:].sum()
    return dict.fromkeys(SPECIES, falling)


def _probabilities(
    x: Floats, d2: Floats, prior: Floats, biased: float, max_count: int
) -> NDArray[np.float32]:
    """Posterior of one frame, which knows how often columns are biased."""
    count = np.arange(max_count + 1)
    likelihood = np.zeros((*x.shape, max_count + 1))
    for offset, share in ((-1, biased), (0, 1 - 2 * biased), (1, biased)):
        read = np.where(count == 0, 0, np.clip(count + offset, 1, max_count))
        error = x[..., None] - read
        likelihood += share * np.exp(-0.5 * d2[:, None, None] * error**2)
    p = prior[:, None] * np.maximum(likelihood, 1e-30)
    normed: NDArray[np.float32] = (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)
    return normed


def _moved(
    sites: pd.DataFrame,
    time: NDArray[np.floating],
    frame_time: float,
    rates: tuple[float, float, float],
    max_count: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Draw changes one after the other, and the counts at the middle of every frame."""
    count = np.minimum(sites["sites"].to_numpy(), max_count).astype(np.int64)
    places, species = sites[["x_A", "y_A"]].to_numpy(), sites["species"].to_numpy()
    distance = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    reach = np.where(species == "Ce", _CE_REACH, _O_REACH)[:, None]
    near = (distance < reach) & (distance > 0) & (species[:, None] == species)
    truth = np.empty((len(sites), len(time)), dtype=np.int64)
    rows, now, filled = [], 0.0, 0
    total = sum(rates) * len(sites)
    while True:
        now = now + rng.exponential(1 / total) if total > 0 else np.inf
        until = int(np.searchsorted(time, now))
        truth[:, filled:until] = count[:, None]
        filled = until
        if now >= time[-1]:
            break
        kind = rng.choice(3, p=np.array(rates) / sum(rates))
        site = int(rng.integers(len(sites)))
        away = kind != 1
        partners = np.flatnonzero(near[site] & (count < max_count))
        if (away and count[site] < 1) or (kind == 1 and count[site] >= max_count):
            continue
        if kind == 2 and not len(partners):
            continue
        partner = int(rng.choice(partners)) if kind == 2 else -1
        count[site] += -1 if away else 1
        if kind == 2:
            count[partner] += 1
        names = ("departure", "arrival", "migration") if species[site] == "Ce" else (
            "vacancy_creation", "vacancy_filling", "vacancy_migration")  # fmt: skip
        frame = int(now / frame_time)
        source, target = (site, partner) if away else (-1, site)
        rows.append((names[kind], species[site], now, frame, source, target))
    return truth, pd.DataFrame(rows, columns=list(EVENTS))
