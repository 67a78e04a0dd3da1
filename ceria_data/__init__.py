"""Simulated HRTEM images of CeO2 nanoparticles with exact counts of atoms per column."""

__version__ = "0.1.0"
