"""What a data root holds: figures beside those of real files, and pictures."""
