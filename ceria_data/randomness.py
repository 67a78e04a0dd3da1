"""The one place where random generators are made."""

import numpy as np

STAGES = (
    "structure",
    "shape",
    "defects",
    "support",
    "phonons",
    "image",
    "camera",
    "limits",
    "order",
    "augmentation",
    "validation",
    "ceiling",
    "added_atoms",
    "evaluation",
    "dynamics",
    "drift",
)
"""Names of the random streams. Append only: the position of a name is part of every key."""


def sample_rng(seed: int, index: int, stage: str) -> np.random.Generator:
    """Make the random generator of one structure or one sample at one stage.

    The stream depends on the three arguments only, never on worker, block, order
    or on how many other structures a dataset has.

    Parameters
    ----------
    seed : int
        The dataset's seed, not negative.
    index : int
        The number of the structure or film (stages ``structure`` to ``phonons``, ``ceiling``,
        ``added_atoms``, ``dynamics`` and ``drift``), of the sample (stages ``image``,
        ``camera`` and ``evaluation``), of the row of a split (``validation``), of the pass over
        a training set (``order``) or of the crop since its start (``augmentation``), not
        negative.
    stage : str
        One of `STAGES`.

    Returns
    -------
    numpy.random.Generator
        A Philox generator: counter-based, so that the n-th number drawn with
        `random` does not depend on the ones before it.

    Raises
    ------
    ValueError
        If `stage` is not one of `STAGES`.

    References
    ----------
    .. [1] Salmon et al., Proc. SC11 (2011), doi:10.1145/2063384.2063405 (Philox).

    Examples
    --------
    >>> float(sample_rng(7, 3, "image").random()) == float(sample_rng(7, 3, "image").random())
    True
    >>> float(sample_rng(7, 3, "image").random()) == float(sample_rng(7, 4, "image").random())
    False
    """
    if stage not in STAGES:
        raise ValueError(f"unknown random stage {stage!r}; the stages are {', '.join(STAGES)}")
    key = np.random.SeedSequence(seed, spawn_key=(STAGES.index(stage), index))
    return np.random.Generator(np.random.Philox(key))
