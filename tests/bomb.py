"""What a file that carries code looks like."""


class Bomb:
    """A pickle that opens a file for writing when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
