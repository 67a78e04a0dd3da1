"""Simulated HRTEM images of CeO2 nanoparticles with exact counts of atoms per column."""

__version__ = "0.1.0"

from ceria_data.dataset import Dataset, Sample, open_dataset

__all__ = ["Dataset", "Sample", "__version__", "open_dataset"]
