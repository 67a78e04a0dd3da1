"""U-Nets that count the atoms of CeO2 columns, trained on the datasets of `ceria_data`."""

from ceria_data import __version__

__all__ = ["__version__"]
