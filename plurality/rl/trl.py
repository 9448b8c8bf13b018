"""TRL: a reward that its command line can name, and a collator that keeps users for its RewardTrainer.

    PLURALITY_REWARD=my_reward/ trl grpo --reward_funcs plurality.rl.trl.reward ...

In Python pass `RewardFunction(...)` in `reward_funcs=[...]` instead. Nothing here imports trl before it is used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plurality.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PreferenceCollator", "preference_collator", "reward"]


def reward(
    prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
) -> list[float | None]:
    """Rewards (n,) by the environment variables of `plurality.rl.environment.EnvironmentSettings`, read at the first
    call.

    Raises InputError as `RewardFunction` does, and when PLURALITY_REWARD is not set.

    prompts           (n,) prompts, strings or message lists
    completions       (n,) completions, one to each prompt
    completion_ids    token ids, which TRL hands over; not looked at
    columns           the data set's columns, the user's among them
    """
    from plurality.rl.environment import from_environment

    return from_environment()(prompts, completions, completion_ids, **columns)


class PreferenceCollator:
    """TRL's DataCollatorForPreference, and beside its tensors `user_ids` (2n,): the chosen block first, then rejected.

    An object that holds the collator, not a class of its kind, so that it can be pickled and trl is imported late.

    collator    the one that makes the batch
    users       user id -> row of the checkpoint
    column      column with the user id
    """

    def __init__(self, collator: Any, users: Sequence[str] | None, column: str) -> None:
        self.collator, self.column = collator, column
        self.place = None if users is None else {user: row for row, user in enumerate(users)}

    def __call__(self, examples: list[dict[str, Any]]) -> "dict[str, Tensor]":
        """Examples of chosen_ids, rejected_ids, perhaps margin, and the user. Raises InputError for unknown users.

        examples    rows of the tokenised data set
        """
        import torch

        rows = torch.tensor([self._row(example) for example in examples], dtype=torch.int64)
        batch: dict[str, Tensor] = self.collator(examples)
        return {**batch, "user_ids": torch.cat([rows, rows])}

    def _row(self, example: dict[str, Any]) -> int:
        if self.column not in example:
            raise InputError(
                f"column {self.column} does not reach the collator; keep it in the training set and set "
                "remove_unused_columns=False in the RewardConfig"
            )
        user = example[self.column]
        if self.place is not None:
            if str(user) not in self.place:
                raise InputError(f"user {user!r} is not among the {len(self.place):,} users given; give all of them")
            return self.place[str(user)]
        if not isinstance(user, int) or isinstance(user, bool) or user < 0:
            raise InputError(f"user {user!r} is no row number; give users=, the ids in the order of the model's rows")
        return user


def preference_collator(
    tokenizer: Any,
    users: Sequence[str] | None = None,
    *,
    column: str = "user_id",
    pad_to_multiple_of: int | None = None,
) -> PreferenceCollator:
    """A collator for a RewardTrainer whose model's forward takes `user_ids`, rows of `users` (without it: as they are).

    For a checkpoint of `export_custom`, whose row 0 is the population, users are ["", *model.config.user_ids].
    `tokenizer` pads, or say the pad token's id. Needs RewardConfig(remove_unused_columns=False). Raises InputError
    for users that are not among `users`, and for a tokenizer that cannot pad.

    column                column with the user id
    pad_to_multiple_of    as in TRL's collator
    """
    from trl.trainer.reward_trainer import DataCollatorForPreference

    pad = tokenizer if isinstance(tokenizer, int) else tokenizer.pad_token_id
    if pad is None:
        raise InputError("this tokenizer has no pad token; set tokenizer.pad_token first")
    collator = DataCollatorForPreference(pad_token_id=pad, pad_to_multiple_of=pad_to_multiple_of)
    return PreferenceCollator(collator, users, column)
