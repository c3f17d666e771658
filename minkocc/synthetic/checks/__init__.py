"""Reads a synthetic data set back, and says what is wrong with it."""
