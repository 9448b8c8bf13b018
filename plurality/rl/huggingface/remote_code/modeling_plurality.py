"""A reward model that knows whose preference it predicts: `model(input_ids, attention_mask, user_ids=[...])`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_plurality import PluralityConfig  # noqa: TID252


class PluralityHead(nn.Module):
    """u(x, user) = ⟨row of the user, φ⟩, φ = [1, f] or [1, f, f²], f = L x + l, plus O gelu(I x + i) if hidden.

    Entries of x out of all proportion are cut at `low` and `high` (d,) first, as they were for the fit.
    """

    low: Tensor
    high: Tensor

    def __init__(self, width: int, n_features: int, n_hidden: int, squared: bool, n_users: int) -> None:
        super().__init__()
        self.squared = squared
        self.register_buffer("low", torch.full((width,), torch.finfo(torch.float32).min))
        self.register_buffer("high", torch.full((width,), torch.finfo(torch.float32).max))
        self.direct = nn.Linear(width, n_features)
        self.inner = nn.Linear(width, n_hidden) if n_hidden else None
        self.outer = nn.Linear(n_hidden, n_features, bias=False) if n_hidden else None
        self.users = nn.Embedding(1 + n_users, 1 + n_features * (2 if squared else 1))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Pooled vectors (B, d) and users' rows (B, R) to utilities (B,), log-odds."""
        x = x.clamp(self.low, self.high)
        f = self.direct(x)
        if self.inner is not None and self.outer is not None:
            f = f + self.outer(gelu(self.inner(x)))
        parts = [torch.ones_like(f[:, :1]), f] + ([f.square()] if self.squared else [])
        return (torch.cat(parts, 1) * rows).sum(1)


class PluralityForSequenceClassification(PreTrainedModel):
    """Logits (B, 1): the utility of each text to its user, in log-odds up to a shift per user and prompt.

    The head is kept in float32 whatever the backbone is loaded in.
    """

    config_class = PluralityConfig
    base_model_prefix = "model"
    _keep_in_fp32_modules_strict = ["plurality_head"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True
    _supports_flex_attn = True
    supports_gradient_checkpointing = True

    def __init__(self, config: PluralityConfig) -> None:
        super().__init__(config)
        self.num_labels = 1
        self.model = AutoModel.from_config(config.backbone)
        width = config.backbone.get_text_config().hidden_size
        self.plurality_head = PluralityHead(
            width, config.n_features, config.n_hidden, config.squared, len(config.user_ids)
        )
        self._row = {user: 1 + i for i, user in enumerate(config.user_ids)}
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        user_ids: Tensor | Sequence[str | None] | None = None,
        user_latents: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Score token ids (B, L), padded on either side.

        user_ids       a name a text (None is the population), or rows (B,) of the user table, 0 the population;
                       without it `config.default_user`
        user_latents   (B, R) rows in place of the table's: constant, weights of f, weights of f² if there are squares
        """
        if attention_mask is None:
            pad = self.config.pad_token_id
            attention_mask = torch.ones_like(input_ids) if pad is None else (input_ids != pad).long()
        input_ids, attention_mask = _to_the_left(input_ids, attention_mask)
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        x = self._pool(hidden, attention_mask)
        head = self.plurality_head
        if user_latents is None:
            user_latents = head.users(self.rows(user_ids, len(input_ids)).to(x.device))
        logits = head(x.to(head.direct.weight.dtype), user_latents.to(x.device, head.direct.weight.dtype))
        return SequenceClassifierOutput(logits=logits[:, None])

    def rows(self, user_ids: Tensor | Sequence[str | None] | None, count: int) -> Tensor:
        """Rows (B,) of the user table. Raises KeyError for a user it does not hold."""
        if user_ids is None:
            user_ids = [self.config.default_user] * count
        if isinstance(user_ids, Tensor):
            rows = user_ids.long().flatten()
        else:
            strange = [u for u in user_ids if u is not None and u not in self._row]
            if strange:
                raise KeyError(f"user {strange[0]!r} is not in this checkpoint; give one of config.user_ids, or None")
            rows = torch.tensor([0 if u is None else self._row[u] for u in user_ids], dtype=torch.long)
        if len(rows) != count:
            raise ValueError(f"{len(rows)} users for {count} texts; give one a text")
        return rows

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One float32 vector (B, d) from states (B, L, d) whose padding is on the right."""
        if self.config.pooling == "mean":
            seen = mask[..., None] > 0
            x = torch.where(seen, hidden.float(), 0.0).sum(1) / seen.float().sum(1)
        else:
            last = mask.long().sum(1) - 1
            place = torch.zeros_like(last) if self.config.pooling == "first" else last
            x = hidden[torch.arange(len(hidden), device=hidden.device), place].float()
        return normalize(x, dim=1) if self.config.normalise else x


def _to_the_left(input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move texts padded on the left to the left edge, so that positions count from the first token for any backbone."""
    width = mask.shape[1]
    start = mask.long().argmax(1, keepdim=True)
    place = torch.arange(width, device=mask.device) + start
    inside = place < width
    place = place.clamp_max(width - 1)
    return input_ids.gather(1, place), mask.gather(1, place) * inside.to(mask.dtype)
