"""Texts and templates of the dataset and model cards."""
