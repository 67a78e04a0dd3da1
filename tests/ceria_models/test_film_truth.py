"""The truth of a film, where a prediction with another reference sees it."""

import numpy as np
import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from ceria_models.film_truth import film_truth, nearest_of
from tests.tiny import build_tiny, film_config

SHIFT = np.array([0.7, -0.4])
"""Of the film's first frame against the reference of the prediction [Å]."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(build_tiny(tmp_path_factory.mktemp("film") / "films", film_config()))


@pytest.fixture(scope="module")
def known(dataset):
    """Frames of film 1, as a prediction tabulates them, and the truth."""
    own = dataset.samples[dataset.samples["particle"] == 1]
    drift = own[["drift_x_A", "drift_y_A"]].to_numpy() + SHIFT
    frames = pd.DataFrame({"frame": own["frame"].to_numpy(), "drift_x_A": drift[:, 0],
                           "drift_y_A": drift[:, 1]})  # fmt: skip
    frames = frames.sample(frac=1.0, random_state=0)
    return frames.set_index("frame", drop=False), film_truth(dataset, 1, frames)


def test_counts_and_places_are_those_of_every_frame(dataset, known):
    frames, truth = known
    own = np.flatnonzero(dataset.samples["particle"] == 1)
    assert truth.counts.shape == (len(truth.species), len(own))
    assert len({tuple(line) for line in truth.counts.T}) > 1
    still = 0
    for frame, index in enumerate(own.tolist()):
        columns = dataset[index].columns
        assert (columns["occupancy"].to_numpy() == truth.counts[:, frame]).all()
        assert (columns["sites"].to_numpy() == truth.sites).all()
        assert (columns["species"].to_numpy() == truth.species).all()
        seen = truth.places + frames.loc[frame, ["drift_x_A", "drift_y_A"]].to_numpy(float)
        away = np.abs(seen - columns[["x_A", "y_A"]].to_numpy()).max(axis=1)
        # The particle tilts, and neighbours of a vacancy move; the first structure does not.
        assert away.max() < 0.5
        first = dataset[int(own[0])].parameters["structure"]
        if dataset[index].parameters["structure"] == first:
            assert away.max() < 1e-9
            still += 1
    assert still


def test_a_place_is_in_the_field_with_room_to_spare(dataset, known):
    _, truth = known
    height, width = dataset.field.extent
    x, y = truth.places.T
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    assert (truth.in_field == inside).all()
    oxygen = (truth.species == "O") & inside
    assert (truth.of("O") == np.flatnonzero(oxygen)).all()
    assert len(truth.of("O", in_field=False)) == (truth.species == "O").sum()


def test_events_name_rows(dataset, known):
    _, truth = known
    events = dataset.events[dataset.events["particle"] == 1]
    moved = events[(events["site_id_from"] >= 0) | (events["site_id_to"] >= 0)]
    assert len(truth.events) == len(moved) > 0
    for event in truth.events.itertuples():
        before, after = (
            dataset.columns_of(structure)["occupancy"].to_numpy()
            for structure in (event.structure - 1, event.structure)
        )
        change = np.zeros(len(before), int)
        if event.site_from >= 0:
            change[event.site_from] -= 1
        if event.site_to >= 0:
            change[event.site_to] += 1
        assert (after - before == change).all()


def test_times(known):
    _, truth = known
    assert truth.seconds == pytest.approx(0.5)
    assert truth.frame_time_s == pytest.approx(0.1)


def test_another_film_is_refused(dataset, known):
    with pytest.raises(ValueError, match="has no film 7"):
        film_truth(dataset, 7, known[0])


def test_nobody_is_near():
    nearest, same = nearest_of(np.zeros((2, 2)), np.zeros((0, 2)))
    assert nearest.tolist() == [0, 0]
    assert not same.any()
    assert nearest_of(np.zeros((0, 2)), np.zeros((0, 2)))[0].shape == (0,)
    assert nearest_of(np.zeros((0, 2)), np.zeros((3, 2)))[1].shape == (0,)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, -1.0), (0.6, 0.8)])
def test_sites_from_nine_tenths_of_an_angstrom_on_are_other_columns(direction):
    """O columns of [110] are 1.35 Å apart where two of them are nearest."""
    places = np.array([[5.0, 5.0]])
    for apart, same in ((0.88, True), (0.92, False), (1.35, False)):
        nearest, found = nearest_of(places, places + apart * np.array(direction))
        assert nearest.tolist() == [0]
        assert found.tolist() == [same]
