"""The synthetic town: its ground, what stands on it, who drives through, and in which light."""
