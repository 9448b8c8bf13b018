"""OpenRLHF: `--reward.remote_url` with the path of this file, or of one that imports `reward_func` from here.

    PLURALITY_REWARD=my_reward/ PLURALITY_BLANK=-5 python -m openrlhf.cli.train_ppo_ray \\
        --reward.remote_url reward.py --data.label_key label ...

Only the label travels with a sample, so it carries the user: `label_of(user_id, prompt)` makes one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plurality.rl.openrlhf_protocol import OpenRLHFProtocol, label_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["label_of", "reward_func"]


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any
) -> "dict[str, Any]":
    """Rewards of whole texts, by the environment variables of `plurality.rl.environment.EnvironmentSettings`.

    {"rewards": (n,), "scores": (n,) in [0, 1], "extra_logs": {"known_user": share, "no_text": share}}. Scores are the
    rewards where they are win probabilities, else σ of the rewards. Queries, prompts and labels are read by
    `plurality.rl.openrlhf_protocol`; completions of which nothing can be seen, the share `no_text`, have the reward
    PLURALITY_BLANK. Raises InputError for what cannot be read, and unless PLURALITY_BLANK is set.

    queries    (n,) prompt and completion as one text
    prompts    (n,) prompts
    labels     (n,) what `label_of` made
    kwargs     what else the trainer hands over; not looked at
    """
    import torch

    from plurality.reward.links import prob
    from plurality.rl.environment import settings_here
    from plurality.rl.one_by_one import OneByOne

    settings = settings_here()
    function = OneByOne.of(None, "OpenRLHF", settings=settings).function
    protocol = OpenRLHFProtocol(
        user_key=function.user_column,
        needs_user=function.needs_user,
        reads_prompts=function.reads_prompts,
        end_tokens=tuple(settings.ends.split()),
        thought_tags=function.thought_tags,
    )
    rows = protocol.rows(queries, prompts, labels)
    users, completions = [row.user_id for row in rows], [row.completion for row in rows]
    given = function([row.prompt for row in rows], completions, **{function.user_column: users})
    rewards: Tensor = torch.tensor(given, dtype=torch.float32)
    count = max(len(rows), 1)
    logs = {
        "known_user": sum(function.knows(user) for user in users) / count,
        "no_text": sum(not said.strip() for said in completions) / count,
    }
    scores = rewards.clamp(0, 1) if settings.normalise == "win" else prob(rewards)
    return {"rewards": rewards, "scores": scores, "extra_logs": logs}
