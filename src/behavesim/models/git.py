"""GIT-LLM, composed: vision tower → projector → [prefix; text] → causal language model → head."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from behavesim.models.mask import positions, prefix_mask


@dataclass(frozen=True)
class Hidden:
    """Last hidden states over prefix and text, and where they are valid."""

    states: Tensor  # [B, P + T, D]
    prefix_length: int
    text_valid: Tensor  # [B, T] bool
    summary: Tensor  # [B, D], see `GitModel.prefix`

    def last_text(self) -> Tensor:
        """States at each row's last text token, where a head reads: [B, D]."""
        last = self.text_valid.long().sum(dim=1) - 1 + self.prefix_length
        return self.states[torch.arange(len(last), device=last.device), last]


class GitModel(nn.Module):
    """A causal language model that sees pictures and metadata as prefix tokens.

    Nothing of the language model is copied: it is fed `inputs_embeds`, `position_ids` and the mask of
    `models/mask.py`.

    Args:
        vision: pictures [N, 3, S, S] → token states [N, I, width].
        projector: token states → embeddings [N, I, D].
        llm: any causal LM of transformers.
        head: states at the last text token [B, D], prior [B] or None → prediction logits.
        metadata: numbers [B, F] → prefix tokens [B, M, D], or None.
        frames: how many pictures of one tweet are seen; each place has its own learned embedding.
        token_dropout: share of text tokens whose embedding is zeroed in training.
    """

    def __init__(
        self,
        *,
        vision: nn.Module,
        projector: nn.Module,
        llm: PreTrainedModel,
        head: nn.Module,
        metadata: nn.Module | None = None,
        frames: int = 1,
        token_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vision = vision
        self.projector = projector
        self.llm = llm
        self.head = head
        self.metadata = metadata
        self.frames = frames
        self.token_dropout = token_dropout
        self.frame_embedding = nn.Parameter(torch.zeros(frames, 1, llm.config.hidden_size)) if frames > 1 else None

    def image_tokens(self, pixel_values: Tensor, image_slot: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Image tokens placed in their rows.

        Args:
            pixel_values: [N, 3, S, S], only pictures that exist.
            image_slot: [N] int64, row × frames + frame of each picture.
            rows: B.

        Returns:
            Tokens [B, frames × I, D], zero where a slot is empty, and their validity [B, frames × I].
        """
        tokens = self.projector(self._states(pixel_values))  # [N, I, D]
        if self.frame_embedding is not None:
            tokens = tokens + self.frame_embedding[image_slot % self.frames]
        _, per_image, width = tokens.shape
        slots = tokens.new_zeros(rows * self.frames, per_image, width).index_copy(0, image_slot, tokens)
        filled = torch.zeros(rows * self.frames, dtype=torch.bool, device=tokens.device)
        filled[image_slot] = True
        valid = filled[:, None].expand(-1, per_image)
        return slots.view(rows, -1, width), valid.reshape(rows, -1)

    def _states(self, pixel_values: Tensor) -> Tensor:
        """Token states of pictures; a frozen tower keeps nothing for a backward pass."""
        if any(parameter.requires_grad for parameter in self.vision.parameters()):
            return self.vision(pixel_values)
        with torch.inference_mode():
            states = self.vision(pixel_values)
        return states.clone()  # an ordinary tensor again, which the projector's backward pass may keep

    def prefix(
        self, rows: int, pixel_values: Tensor | None, image_slot: Tensor | None, features: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prefix embeddings [B, P, D], their validity [B, P], P may be 0, and their summary [B, D].

        The summary is the mean image token plus the mean metadata token of each row.
        """
        embeddings = self.llm.get_input_embeddings().weight
        tokens = [embeddings.new_zeros(rows, 0, self.llm.config.hidden_size)]
        valid = [torch.zeros(rows, 0, dtype=torch.bool, device=embeddings.device)]
        if pixel_values is not None and len(pixel_values):
            image, image_valid = self.image_tokens(pixel_values, image_slot, rows)
            tokens.append(image)
            valid.append(image_valid)
        if self.metadata is not None and features is not None:
            metadata = self.metadata(features)
            tokens.append(metadata)
            valid.append(torch.ones(metadata.shape[:2], dtype=torch.bool, device=metadata.device))
        summary = sum(_masked_mean(block, mask) for block, mask in zip(tokens, valid, strict=True))
        return torch.cat(tokens, dim=1), torch.cat(valid, dim=1), summary

    def hidden(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor,
        pixel_values: Tensor | None = None,
        image_slot: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Hidden:
        """Last hidden states over prefix and text.

        Args:
            input_ids: [B, T], padded on the right.
            attention_mask: [B, T], 1 on tokens.
            pixel_values, image_slot: see `image_tokens`.
            features: [B, F] standardised numbers.
        """
        prefix, prefix_valid, summary = self.prefix(len(input_ids), pixel_values, image_slot, features)
        text = self.llm.get_input_embeddings()(input_ids)  # [B, T, D]
        if self.training and self.token_dropout > 0:
            kept = torch.rand(input_ids.shape, device=text.device) >= self.token_dropout
            text = text * kept[:, :, None]
        text_valid = attention_mask.bool()
        embeddings = torch.cat([prefix.to(text.dtype), text], dim=1)  # [B, P + T, D]
        # The decoder without its vocabulary layer: no head here reads vocabulary logits.
        output = self.llm.get_decoder()(
            inputs_embeds=embeddings,
            attention_mask=prefix_mask(prefix_valid, text_valid, embeddings.dtype),
            position_ids=positions(torch.cat([prefix_valid, text_valid], dim=1)),
            use_cache=False,
        )
        return Hidden(output.last_hidden_state, prefix.shape[1], text_valid, summary)

    def forward(self, *, prior: Tensor | None = None, **inputs: Tensor | None) -> Tensor:
        """Prediction logits of the head: inputs as in `hidden`, `prior` [B] the log1p likes expected beforehand."""
        hidden = self.hidden(**inputs)
        # The summary is a direct path beside attention: pictures and numbers reach the head from the first step on,
        # and small models learn what pictures show several times sooner.
        return self.head(hidden.last_text() + hidden.summary, prior)


def _masked_mean(tokens: Tensor, valid: Tensor) -> Tensor:
    """Mean of the valid tokens of each row: [B, K, D] and [B, K] → [B, D], zero where none is valid."""
    weight = valid[:, :, None].to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
