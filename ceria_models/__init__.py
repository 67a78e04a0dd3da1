"""U-Nets that count the atoms of CeO2 columns, trained on the datasets of `ceria_data`."""

__version__ = "0.1.0"
