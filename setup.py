"""Package build: the requirements are those of requirements.txt, read here so they stand once."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of a requirements file without comments."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [text for line in lines if (text := line.split("#")[0].strip())]


setup(
    install_requires=requirements("requirements.txt"),
    extras_require={
        "dev": requirements("requirements-dev.txt"),
        "pseudo-labels": requirements("requirements-pseudo-labels.txt"),
        # Not on the package index for current Pythons.
        "pytorch3d": ["pytorch3d @ git+https://github.com/facebookresearch/pytorch3d@v0.7.9"],
    },
)
