"""Recipes: their knobs, how they are read and checked, and the options that change them."""

from minkocc.config.knobs import KNOBS, ConfigError
from minkocc.config.load import load_config, recipe_of, resolved

__all__ = ["KNOBS", "ConfigError", "load_config", "recipe_of", "resolved"]
