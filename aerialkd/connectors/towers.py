"""Connector for what ``HeadTowers`` records."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule

from aerialkd.connectors.pyramid import PyramidAligner
from aerialkd.errors import ConfigError
from aerialkd.registry import MODELS
from aerialkd.structures import TowerRecord


@MODELS.register_module()
class TowerAligner(BaseModule):
    """Bring the maps of the student's towers to the teacher's channels.

    One convolution for each level and tower. It is trained with the student and is not
    part of the exported model.

    Args:
        cls: arguments of a :class:`PyramidAligner` for the classification tower;
            without, its maps stay as they are.
        reg: likewise for the regression tower.
        init_cfg: initialisation; Kaiming-uniform (PyTorch's default) when omitted.

    Raises:
        ConfigError: if both are omitted.
    """

    def __init__(
        self,
        cls: dict[str, Any] | None = None,
        reg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not cls and not reg:
            raise ConfigError(
                'TowerAligner: got neither cls nor reg, expected '
                'dict(in_channels=..., out_channels=..., num_levels=...) for at least '
                'one tower; without differing channels, leave the connector out.'
            )
        self.cls = PyramidAligner(**cls) if cls else None
        self.reg = PyramidAligner(**reg) if reg else None

    def forward(self, record: TowerRecord) -> TowerRecord:
        """Align the maps of a record; its outputs stay.

        Raises:
            ConfigError: if it is another record.
        """
        if not isinstance(record, TowerRecord):
            raise ConfigError(
                f'TowerAligner: got a {type(record).__name__}, expected the record of '
                "a recorder of type 'HeadTowers'; PyramidAligner serves others."
            )
        return record._replace(
            cls=self.cls(record.cls) if self.cls else record.cls,
            reg=self.reg(record.reg) if self.reg else record.reg,
        )
