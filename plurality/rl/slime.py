"""slime: `--custom-rm-path plurality.rl.slime.rm`; or `--rm-type remote_rm --rm-url http://HOST:5000/get_reward`.

The user, and where the reward model reads prompts the prompt before any chat template, stand in the sample's `metadata`
or in its `label`, as `plurality.rl.openrlhf_protocol.label_of` writes one.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from plurality.rl.one_by_one import OneByOne, labelled

__all__ = ["rm"]


async def rm(args: Any, sample: Any, **kwargs: Any) -> Any:
    """The reward of a sample, or rewards (n,) of a list of them, by the environment variables of `EnvironmentSettings`.

    Concurrent calls share a pass of the encoder. Raises InputError for a sample without user, or where PLURALITY_BLANK
    is not set.

    args      of the trainer; not looked at
    sample    slime's Sample: prompt, response, label and metadata are read; or a list of them
    kwargs    what else the trainer hands over; not looked at
    """
    asked = OneByOne.of(None, "slime", row="the sample's metadata or label", remedy="put it there")
    if isinstance(sample, list):
        return list(await asyncio.gather(*(_reward(asked, one) for one in sample)))
    return await _reward(asked, sample)


async def _reward(asked: OneByOne, sample: Any) -> float:
    metadata = sample.metadata if isinstance(sample.metadata, Mapping) else {}
    row = {**labelled(sample.label), **metadata}
    return await asked.soon(asked.sample(sample.prompt, sample.response, row))
