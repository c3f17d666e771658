"""The local log's config, written whole or not at all."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import force_init_env

from minkocc.files.writing import write_text
from minkocc.registry import VISBACKENDS


# Under mmengine's own name, as recipes write it.
@VISBACKENDS.register_module(name="LocalVisBackend")
class WholeConfigVisBackend(LocalVisBackend):
    """mmengine's local log, which opens ``config.py`` and then takes its time to fill it."""

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write the config."""
        write_text(self._config_save_file, config.pretty_text)
