"""A program that knows the truth and gets a stated share of it wrong."""

import numpy as np
import pandas as pd

from ceria_models.recording import OWN, record_at, stored_counts


class FakeProgram:
    """Recognise an image by its electrons, and return its columns with injected errors.

    Of the columns a share `missed` is left out, a share `wrong` has an atom too few (one too
    many where it has one); positions are off by `jitter` Å per axis. Its confidence says how
    often it is right. It knows images of one `recording`, and says where columns are in them.
    """

    def __init__(
        self, dataset, rows, doses, *, wrong=0.0, missed=0.0, jitter=0.0, draws=1, recording=OWN
    ):
        self.options = (wrong, missed, jitter)
        self.recording = recording
        self.samples = {}
        for row in rows:
            sample = dataset[int(row)]
            self.samples[stored_counts(sample).tobytes()] = sample
            for dose in doses:
                for draw in range(draws):
                    self.samples[record_at(sample, dose, draw, recording).tobytes()] = sample
        self.rng = np.random.default_rng(0)

    def __call__(self, counts, sampling):
        sample = self.samples[counts.tobytes()]
        found = self.columns(sample)
        # The edges of the first pixels coincide, and so their centres do not.
        first = 0.5 * (sampling - sample.dataset.field.sampling)
        found = found.assign(x_A=found["x_A"] - first, y_A=found["y_A"] - first)
        ny, nx = counts.shape
        seen = (found["x_A"] < (nx - 0.5) * sampling) & (found["y_A"] < (ny - 0.5) * sampling)
        return found[seen]

    def columns(self, sample):
        wrong, missed, jitter = self.options
        truth = sample.columns
        truth = truth[truth["in_field"] & (truth["occupancy"] > 0)]
        truth = truth[self.rng.random(len(truth)) >= missed]
        n = len(truth)
        true = truth["occupancy"].to_numpy()
        occupancy = true + np.where(true > 1, -1, 1) * (self.rng.random(n) < wrong)
        facts = {
            "species": truth["species"].to_numpy(),
            "x_A": truth["x_A"].to_numpy() + jitter * self.rng.standard_normal(n),
            "y_A": truth["y_A"].to_numpy() + jitter * self.rng.standard_normal(n),
            "occupancy": occupancy,
            "confidence": 1 - wrong,
            "z_mean_A": truth["z_mean_A"].to_numpy(),
        }
        classes = {
            f"p_{k}": np.where(occupancy == k, 1 - wrong, np.where(occupancy + 1 == k, wrong, 0.0))
            for k in range(15)
        }
        return pd.DataFrame(facts | classes)
