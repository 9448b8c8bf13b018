"""Embeddings for reward functions that are awaited, from a server that speaks OpenAI's `/v1/embeddings`."""

import asyncio

import numpy as np

from plurality.arrays import Array
from plurality.encoders.served import ServerEncoder
from plurality.encoders.server import EmbeddingServer, is_url
from plurality.encoders.standing import stand_in
from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel
from plurality.rl.embedding import uncached
from plurality.rl.messages import Pairs

__all__ = ["EmbeddingServer"]


class RemoteEncoder:
    """Embeds pairs by a server, as the reward model's own encoder would; see `plurality.encoders.ServerEncoder`.

    server    where it is, or its address; None: the one that the model was fitted with
    reward    the model, whose recorded template, limit, normalisation and probe the server's vectors are held to
    """

    def __init__(self, server: EmbeddingServer | str | None, reward: RewardModel) -> None:
        own = reward.encoder
        if server is None:
            encoder = None if own is None else uncached(own) if isinstance(own, StoredEncoder) else own
            if not isinstance(encoder, ServerEncoder):
                raise InputError("this model was not fitted with an embedding server; say where one is as server=")
            self.encoder = encoder
        else:
            server = EmbeddingServer(server) if is_url(server) and isinstance(server, str) else server
            if not isinstance(server, EmbeddingServer):
                raise InputError(f"{server!r} is no address of a server; give http://…/v1/embeddings")
            self.encoder = stand_in(server, own, reward.head.n_embedding)
        self.server = self.encoder.server

    async def embed(self, texts: Pairs, *, with_prompts: bool) -> tuple[Array, Array | None]:
        """Embeddings (m, d) of the pairs, and where asked for (m, d) of their prompts.

        Raises InputError when the server fails again and again, embeds the probe otherwise, or answers with anything
        but one finite vector of the model's width a text.
        """
        if not texts.completions:
            nothing = np.empty((0, self.encoder.dim), dtype=np.float32)
            return nothing, nothing if with_prompts else None
        written = [self.encoder.texts(texts.prompt_of_each(), texts.completions)]
        written += [self.encoder.prompt_texts(texts.prompts)] if with_prompts else []
        await self.encoder.ready()
        vectors = await asyncio.gather(*(self.encoder.encode_async(part) for part in written))
        return vectors[0], vectors[1][texts.prompt] if with_prompts else None
