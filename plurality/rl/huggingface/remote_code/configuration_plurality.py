"""Configuration of a reward model that knows whose preference it predicts."""

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig


class PluralityConfig(PretrainedConfig):
    """A frozen backbone, how its states become one vector, and a readout with a row for every user.

    backbone       configuration of the model underneath
    pooling        "last", "mean" or "first" of the last hidden states
    normalise      whether the pooled vector is scaled to unit length
    n_features     p, the width of the map f of the pooled vector
    n_hidden       units of the map's hidden layer, 0 for a linear map
    squared        whether utility also reads the squares of f
    user_ids       users with a row of their own, from row 1; row 0 is the population
    default_user   whose reward is given where a call names no user; None is the population
    """

    model_type = "plurality_reward"
    sub_configs = {"backbone": AutoConfig}  # noqa: RUF012

    def __init__(
        self,
        backbone: Any = None,
        pooling: str = "last",
        normalise: bool = False,
        n_features: int = 1,
        n_hidden: int = 0,
        squared: bool = False,
        user_ids: Any = (),
        default_user: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(backbone, dict):
            backbone = AutoConfig.for_model(**backbone)
        self.backbone = backbone
        self.pooling = pooling
        self.normalise = normalise
        self.n_features = n_features
        self.n_hidden = n_hidden
        self.squared = squared
        self.user_ids = list(user_ids)
        self.default_user = default_user
        kwargs.setdefault("num_labels", 1)
        super().__init__(**kwargs)
