"""What a predicted and tracked film says, against its truth: counts, events, vacancies."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ceria_data.schema import SPECIES
from ceria_models.film_scoring import as_changes, lasting, score_events, with_places

WINDOWS = {"Ce": 0.2, "O": 0.5}
SAME_COLUMN = 0.9
LASTING_S = 1.0
"""Vacancies, and changes, that are asked for last at least this long."""
FALSE_SHARE = 1e-4
"""Of columns and frames without a vacancy, may be called one."""
BINS = 10
DRAWS = 1000


@dataclass(frozen=True)
class Truth:
    """What a film shows: columns, their places in the reference, counts by frame; full: sites."""

    species: np.ndarray
    places: np.ndarray
    counts: np.ndarray
    sites: np.ndarray
    in_field: np.ndarray
    events: pd.DataFrame
    seconds: float


def cells(films):
    """Add up the films of a row."""
    vacancies = [film["vacancies"] for film in films]
    films = [{key: film[key] for key in film if key != "vacancies"} for film in films]
    rng = np.random.default_rng(0)
    draws = rng.integers(len(films), size=(DRAWS, len(films)))
    total = {key: np.array([film[key] for film in films], dtype=float) for key in films[0]}

    def share(top, bottom):
        values, low_high = ratio(total, top, bottom, slice(None)), []
        if np.isfinite(values):
            drawn = [ratio(total, top, bottom, draw) for draw in draws]
            low_high = np.nanpercentile(drawn, (2.5, 97.5))
        return f"{values:.3f} ({low_high[0]:.3f}–{low_high[1]:.3f})" if len(low_high) else "–"

    errors = {
        name: np.abs((total[f"bins_{name}_confidence"] - total[f"bins_{name}_right"]).sum(0)).sum()
        / max(total[f"bins_{name}_n"].sum(), 1)
        for name in ("before", "after")
    }
    squares = total["time_squares"].sum() / max(total["right"].sum(), 1)
    return [
        share("before_right", "n"),
        share("after_right", "n"),
        share("missed", "n"),
        f"{errors['before']:.3f}",
        f"{errors['after']:.3f}",
        f"{(total['extra'].sum() / total['frames'].sum()):.2f} a frame",
        f"{total['true'].sum():.0f}",
        f"{total['found'].sum():.0f}",
        share("right", "found"),
        share("right", "true"),
        share("both", "true_and_found"),
        share("changes_both", "changes_true_and_found"),
        f"{np.sqrt(squares):.3f}" if total["right"].sum() else "–",
        f"{10 * (total['found'] - total['right']).sum() / total['seconds'].sum():.2f}",
        f"{ratio(total, 'lasting_found', 'lasting', slice(None)):.2f} of "
        f"{total['lasting'].sum():.0f}",
        f"{1000 * ratio(total, 'changes_false', 'n', slice(None)):.3f}",
        vacancy_recall(vacancies),
    ]


def ratio(total, top, bottom, draw):
    below = total[bottom][draw].sum()
    return total[top][draw].sum() / below if below else np.nan


def film_scores(dataset, particle, folder):
    """Compare one film with its truth: sums, by species."""
    frames, sites = (pd.read_parquet(folder / f"{name}.parquet") for name in ("frames", "sites"))
    truth = truth_of(dataset, particle, frames)
    sides = {
        name: cube(pd.read_parquet(folder / f"{file}.parquet"), len(sites), len(frames))
        for name, file in (("before", "readings"), ("after", "tracks"))
    }
    found = pd.read_parquet(folder / "events.parquet")
    site_places = sites.sort_values("site")[["x_A", "y_A"]].to_numpy()
    return {
        species: count_sums(truth, sides, sites, site_places, species)
        | event_sums(truth, found, site_places, species)
        | {"vacancies": vacancies_of(truth, sides["after"], sites, species)}
        for species in SPECIES
    }


def truth_of(dataset, particle, frames):
    samples = dataset.samples[dataset.samples["particle"] == particle].sort_values("frame")
    both = samples.merge(frames, on="frame", suffixes=("", "_found"))
    # The reference lies where its drift is 0, the truth where that of the film is.
    shift = [
        float((both[f"drift_{axis}_A_found"] - both[f"drift_{axis}_A"]).median()) for axis in "xy"
    ]
    tables = {int(s): dataset.columns_of(int(s)) for s in samples["structure"].unique()}
    first = tables[int(samples["structure"].iloc[0])]
    names = first["site_id"].to_numpy()
    of_structure = {s: t.set_index("site_id").loc[names] for s, t in tables.items()}
    counts = np.stack(
        [of_structure[int(s)]["occupancy"].to_numpy() for s in samples["structure"]], axis=1
    )
    places = first[["x_A", "y_A"]].to_numpy() - np.array(shift)
    height, width = dataset.field.extent
    x, y = places.T
    in_field = (x > 1) & (y > 1) & (x < width - 1) & (y < height - 1)
    row = {int(name): i for i, name in enumerate(names)}
    events = dataset.events[dataset.events["particle"] == particle]
    events = events.assign(
        site_from=[row.get(int(i), -1) for i in events["site_id_from"]],
        site_to=[row.get(int(i), -1) for i in events["site_id_to"]],
    )
    events = events[(events["site_from"] >= 0) | (events["site_to"] >= 0)]
    seconds = float(samples["time_s"].max() - samples["time_s"].min())
    species = first["species"].to_numpy()
    return Truth(species, places, counts, first["sites"].to_numpy(), in_field, events, seconds)


def cube(table, n_sites, n_frames):
    """Probabilities (site, frame, class); not a number where nothing was read."""
    classes = [name for name in table if name.startswith("p_")]
    p = np.full((n_sites, n_frames, len(classes)), np.nan, dtype=np.float32)
    p[table["site"], table["frame"]] = table[classes].to_numpy()
    return p


def count_sums(truth, sides, sites, site_places, species):
    """Count what is right, over all columns and frames of the field."""
    own = np.flatnonzero((truth.species == species) & truth.in_field)
    numbers = sites.sort_values("site")
    mine = np.flatnonzero((numbers["species"] == species).to_numpy())
    counts = truth.counts[own]
    there = counts > 0
    apart = np.hypot(
        *(truth.places[own, None, axis] - site_places[None, mine, axis] for axis in (0, 1))
    )
    nearest = apart.argmin(1) if len(mine) else np.zeros(len(own), int)
    met = apart.min(1) < SAME_COLUMN if len(mine) else np.zeros(len(own), bool)
    sums = {"n": there.sum(), "missed": (there & ~met[:, None]).sum(), "frames": counts.shape[1]}
    for name, p in sides.items():
        read = p[mine[nearest]] if len(mine) else np.zeros((*counts.shape, 2), np.float32)
        known = met[:, None] & np.isfinite(read[..., 0])
        said = np.nan_to_num(read).argmax(-1)
        right = known & (said == np.minimum(counts, read.shape[-1] - 1))
        sums[f"{name}_right_all"] = (right & there).sum()
        confidence = np.nan_to_num(read).max(-1)
        at = np.minimum((confidence * BINS).astype(int), BINS - 1)
        for key, values in (("n", known), ("confidence", confidence * known), ("right", right)):
            sums[f"{name}_{key}_bins"] = np.bincount(
                at[known], values[known].astype(float), minlength=BINS
            )
    strays = np.setdiff1d(np.arange(len(mine)), nearest[met])
    extra = sides["after"][mine[strays]] if len(strays) else np.zeros((0, 1, 1))
    sums["extra"] = (np.nan_to_num(extra, nan=1.0)[..., 0] < 0.5).sum()
    renamed = {f"{side}_right": sums.pop(f"{side}_right_all") for side in sides}
    errors = {
        f"{side}_{key}": sums.pop(f"{side}_{key}_bins")
        for side in sides
        for key in ("n", "confidence", "right")
    }
    return sums | {f"bins_{key}": value for key, value in errors.items()} | renamed


def event_sums(truth, found, site_places, species):
    mine = found[found["species"] == species]
    told = truth.events[truth.events["species"] == species]
    window = WINDOWS[species]
    events = score_events(mine, with_places(told, truth.places), truth.seconds, window=window)
    changes = score_events(
        as_changes(mine, site_places),
        as_changes(told, truth.places),
        truth.seconds,
        window=window,
    )
    stay = score_events(
        as_changes(mine, site_places),
        as_changes(lasting(told, truth.seconds, LASTING_S), truth.places),
        truth.seconds,
        window=window,
    )
    error = 0.0 if np.isnan(events.time_error_s) else events.time_error_s
    return {
        "true": events.n_true,
        "found": events.n_found,
        "right": events.n_right,
        "both": 2 * events.n_right,
        "true_and_found": events.n_true + events.n_found,
        "changes_both": 2 * changes.n_right,
        "changes_true_and_found": changes.n_true + changes.n_found,
        "changes_false": changes.n_found - changes.n_right,
        "lasting": stay.n_true,
        "lasting_found": stay.n_right,
        "time_squares": events.n_right * error**2,
        "seconds": truth.seconds,
    }


def vacancies_of(truth, p, sites, species):
    """Collect P(vacancy) of quiet columns and frames, and in each vacancy that lasts.

    A column has a vacancy while it holds fewer atoms than it has sites. Frames within the window
    of events around one are neither: when it began is a matter of `event_sums`.
    """
    own = np.flatnonzero((truth.species == species) & truth.in_field & (truth.sites > 0))
    numbers = sites.sort_values("site")
    mine = np.flatnonzero((numbers["species"] == species).to_numpy())
    n_frames = truth.counts.shape[1]
    step = truth.seconds / (n_frames - 1)
    said = np.zeros((len(own), n_frames))
    if len(own) and len(mine):
        there = numbers[["x_A", "y_A"]].to_numpy()[mine]
        apart = np.hypot(*(truth.places[own, None, i] - there[None, :, i] for i in (0, 1)))
        met = np.flatnonzero(apart.min(1) < SAME_COLUMN)
        read = np.nan_to_num(p[mine[apart.argmin(1)[met]]])
        fewer = np.arange(read.shape[-1]) < truth.sites[own[met], None]
        said[met] = np.where(fewer[:, None], read, 0.0).sum(-1)
    lacks = truth.counts[own] < truth.sites[own, None]
    reach = round(WINDOWS[species] / step)
    near = np.stack([lacks[:, max(0, i - reach) : i + reach + 1].any(1) for i in range(n_frames)])
    lasting = []
    for row, line in enumerate(lacks):
        ends = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(int)))
        for start, stop in zip(ends[::2], ends[1::2], strict=True):
            if (stop - start) * step >= LASTING_S - 1e-6:
                lasting.append(said[row, start:stop])
    return said[~near.T], lasting


def vacancy_recall(films):
    """Share of lasting vacancies seen in half of their frames, at `FALSE_SHARE` false ones."""
    lasting = [own for _, each in films for own in each]
    if not lasting:
        return "–"
    quiet = np.sort(np.concatenate([own for own, _ in films]))[::-1]
    threshold = quiet[min(int(FALSE_SHARE * len(quiet)), len(quiet) - 1)] if len(quiet) else 0.0
    found = sum(float((own > threshold).mean() >= 0.5) for own in lasting)
    return f"{found / len(lasting):.2f} of {len(lasting)}"
