"""Readers and writers of files: none is left half written, nothing of one is ever executed."""
