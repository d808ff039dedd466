"""GIT-LLM, composed: vision tower → projector → [prefix; text] → causal language model → head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from behavesim.models import llm as decoder
from behavesim.models.decoding import Decoding, write
from behavesim.models.generation import Choose, Ends, alone, generate, greedy, most_of_all
from behavesim.models.head import Head, Hidden, Targets
from behavesim.models.metadata import HistoryProjector, MetadataReaders
from behavesim.models.sequence import Packed, masked_mean, pack
from behavesim.models.stored import StoredStates
from behavesim.models.vision import VisionTower

TOLD = ("statistics", "history", "history_valid")  # of the account


@dataclass(frozen=True)
class GitOutput:
    """What the head reads: the text head gives [B, P + T, V], a head over likes [B, M, K]."""

    logits: Tensor


class GitModel(nn.Module):
    """A causal language model that sees pictures and metadata as prefix tokens.

    Nothing of the language model is copied: it is fed `inputs_embeds`, `position_ids` and a mask of `models/mask.py`.

    Args:
        vision: pictures [N, 3, S, S] → token states [N, I, width], or token states as they are.
        projector: token states → embeddings [N, I, D].
        llm: any causal LM of transformers, see `models/llm.py`.
        head: what is read from the language model.
        metadata: numbers of a tweet and its account → what M members read in them [B, M, D], or None. Their mean is a
            prefix token, and the head reads each.
        history: earlier posts [B, K, T] → prefix tokens [B, K, D], or None.
        frames: how many pictures of one tweet are seen.
        embed_frames: whether each place among them has a learned embedding; None: where there are several.
        token_dropout: share of text tokens whose embedding is zeroed in training, but for those that the head has
            `legible`.
        eos_ids: tokens that end a generated text.
        pad_id: what follows them.
    """

    def __init__(
        self,
        *,
        vision: VisionTower | StoredStates,
        projector: nn.Module,
        llm: PreTrainedModel,
        head: Head,
        metadata: MetadataReaders | None = None,
        history: HistoryProjector | None = None,
        frames: int = 1,
        embed_frames: bool | None = None,
        token_dropout: float = 0.0,
        eos_ids: Sequence[int] = (),
        pad_id: int = 0,
    ) -> None:
        super().__init__()
        self.vision = vision
        self.projector = projector
        self.llm = llm
        self.head = head
        self.metadata = metadata
        self.history = history
        self.frames = frames
        self.token_dropout = token_dropout
        self.eos_ids = tuple(eos_ids)
        self.pad_id = pad_id
        # Where several processes share gradients or weights, each waits until all have reached a part. With this every
        # batch runs every part, and all processes write equally many tokens.
        self.in_step = False
        # In the tower's space, before the projector, as the reference has it.
        embed_frames = frames > 1 if embed_frames is None else embed_frames
        self.frame_embedding = nn.Parameter(torch.zeros(frames, 1, vision.width)) if embed_frames else None

    def image_tokens(self, pixel_values: Tensor, image_slot: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
        """Image tokens placed in their rows.

        Args:
            pixel_values: [N, 3, S, S], only pictures that exist, or [N, I, width], their token states, where `vision`
                is `StoredStates`.
            image_slot: [N] int64, row × frames + frame of each picture. None, for pictures alone: every row has its
                own in order, `pixel_values` being [B, F, 3, S, S] with F up to `frames`, or [B, 3, S, S], which are
                no frames and get no frame embedding, as in the reference.
            rows: B.

        Returns:
            Tokens [B, F × I, D], zero where a slot is empty, and their validity [B, F × I]; F is `frames` with slots.
        """
        if image_slot is None:
            return self._every_image(pixel_values)
        states = self._states(pixel_values)  # [N, patches, width]
        if self.frame_embedding is not None:
            states = states + self.frame_embedding[image_slot % self.frames]
        tokens = self.projector(states)  # [N, I, D]
        _, per_image, width = tokens.shape
        slots = tokens.new_zeros(rows * self.frames, per_image, width).index_copy(0, image_slot, tokens)
        filled = torch.zeros(rows * self.frames, dtype=torch.bool, device=tokens.device)
        filled[image_slot] = True
        valid = filled[:, None].expand(-1, per_image)
        return slots.view(rows, -1, width), valid.reshape(rows, -1)

    def _every_image(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """`image_tokens` of pictures in order, none missing."""
        if pixel_values.ndim < 4:
            raise ValueError(f"pixel_values of shape {list(pixel_values.shape)} are no pictures and need image_slot")
        given = pixel_values.shape[1] if pixel_values.ndim == 5 else 1
        if given > self.frames:
            raise ValueError(f"pixel_values hold {given} frames, the model knows {self.frames}")
        states = self._states(pixel_values.flatten(0, -4)).unflatten(0, (-1, given))  # [B, F, patches, width]
        if self.frame_embedding is not None and pixel_values.ndim == 5:
            states = states + self.frame_embedding[:given]
        tokens = self.projector(states.flatten(0, 1)).unflatten(0, (-1, given)).flatten(1, 2)  # [B, F × I, D]
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

    def _states(self, pixel_values: Tensor) -> Tensor:
        """Token states of pictures, or themselves; a frozen tower keeps nothing for a backward pass."""
        if any(parameter.requires_grad for parameter in self.vision.parameters()):
            return self.vision(pixel_values)
        # Weights that are shared out are brought together ahead of time, those of parts that train among them.
        with torch.no_grad() if self.in_step else torch.inference_mode():
            states = self.vision(pixel_values)
        return states.clone()  # an ordinary tensor again, which the projector's backward pass may keep

    def _unseen(self) -> Tensor:
        """Zero, by way of a blank picture: a scalar that brings a gradient of zero to all that pictures go through."""
        weights = self.projector.parameters()
        blank = self.vision.blank().to(next(weights).device)
        states = self._states(blank)
        if self.frame_embedding is not None:
            states = states + self.frame_embedding[:1]
        return self.projector(states).sum() * 0

    def prefix(
        self,
        rows: int,
        pixel_values: Tensor | None,
        image_slot: Tensor | None,
        features: Tensor | None,
        statistics: Tensor | None,
        history: Tensor | None,
        history_valid: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prefix embeddings [B, P, D], their validity [B, P], P may be 0, and their summary [B, M, D].

        The summary is the mean image token of each row plus what each of the M members reads in its numbers.
        """
        embeddings = self.llm.get_input_embeddings().weight
        tokens = [torch.zeros(rows, 0, self.llm.get_input_embeddings().embedding_dim, device=embeddings.device)]
        valid = [torch.zeros(rows, 0, dtype=torch.bool, device=embeddings.device)]
        if pixel_values is not None and len(pixel_values):
            image, image_valid = self.image_tokens(pixel_values, image_slot, rows)
            tokens.append(image)
            valid.append(image_valid)
        elif self.in_step:
            tokens[0] = tokens[0] + self._unseen()
        summary = sum(masked_mean(block, mask) for block, mask in zip(tokens, valid, strict=True))[:, None]
        if self.history is not None and history is not None:
            tokens.append(self.history(history))
            valid.append(history_valid)
        if self.metadata is not None and features is not None:
            read = self.metadata(features, statistics)
            summary = summary + read
            tokens.append(read.mean(dim=1, keepdim=True))
            valid.append(torch.ones(rows, 1, dtype=torch.bool, device=read.device))
        return torch.cat(tokens, dim=1), torch.cat(valid, dim=1), summary

    def _sequence(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor,
        pixel_values: Tensor | None = None,
        image_slot: Tensor | None = None,
        features: Tensor | None = None,
        legible: Tensor | None = None,
        **told: Tensor | None,
    ) -> tuple[Tensor, Tensor, int, Tensor]:
        """Loose embeddings [B, P + T, D], validity [B, P + T], P and the prefix's summary [B, M, D]."""
        told = {name: told.get(name) for name in TOLD}
        prefix, prefix_valid, summary = self.prefix(len(input_ids), pixel_values, image_slot, features, **told)
        text = self.llm.get_input_embeddings()(input_ids)  # [B, T, D]
        if self.training and self.token_dropout > 0:
            kept = torch.rand(input_ids.shape, device=text.device) >= self.token_dropout
            kept = kept if legible is None else kept | legible
            text = text * kept[:, :, None]
        prefix = (prefix * decoder.embedding_scale(self.llm)).to(text.dtype)
        valid = torch.cat([prefix_valid, attention_mask.bool()], dim=1)
        with torch.autocast(text.device.type, enabled=False):  # it refuses to join halves of another kind than its own
            return torch.cat([prefix, text], dim=1), valid, prefix.shape[1], summary

    def hidden(self, **inputs: Tensor | None) -> Hidden:
        """Last hidden states over prefix and text.

        Args:
            input_ids, attention_mask: [B, T], the latter 1 on tokens.
            pixel_values, image_slot: see `image_tokens`.
            features: [B, F] numbers of the tweet itself.
            statistics: [B, S] of the account's past.
            history, history_valid: [B, K, T] and [B, K], the account's earlier posts.
            legible: [B, T], or [B, 1], tokens that training does not hide; None: it may hide any.
        """
        embeddings, valid, prefix_slots, summary = self._sequence(**inputs)
        packed = pack(embeddings, valid, prefix_slots)
        states = packed.unpack(decoder.decode(self.llm, packed))
        return Hidden(states, prefix_slots, valid[:, prefix_slots:], summary)

    def vocabulary(self, states: Tensor) -> Tensor:
        """Next-token logits of states: [..., D] → [..., V] in fp32."""
        return decoder.vocabulary_logits(self.llm, states)

    def forward(self, *, prior: Tensor | None = None, **inputs: Tensor | None) -> GitOutput:
        """Logits of the head: inputs as in `hidden`, `prior` [B] the log1p likes expected beforehand."""
        return GitOutput(self.head.logits(self, self.hidden(**inputs), prior))

    def loss(self, inputs: Mapping[str, Tensor | None], targets: Targets) -> Tensor:
        """Training loss of a batch."""
        return self.head.training_loss(self, inputs, targets)

    def score(self, inputs: Mapping[str, Tensor | None], targets: Targets) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Loss, None without likes, and estimates in likes, each [B]; see `Head.score`."""
        return self.head.score(self, inputs, targets)

    def generate(
        self, *, max_new_tokens: int, choose: Choose = greedy, samples: int = 1, **inputs: Tensor | None
    ) -> Tensor:
        """The new ids alone, [B × samples, at most max_new_tokens]: inputs as in `hidden`, see `generation.py`."""
        return generate(self.llm, self.prompt(**inputs), self.ends(max_new_tokens), choose=choose, samples=samples)

    def write(self, decoding: Decoding, earlier: Tensor | None = None, **inputs: Tensor | None) -> Tensor:
        """Texts, ids [B, A, at most `max_new_tokens`]: inputs as in `hidden`, see `decoding.py`."""
        return write(self, inputs, decoding, earlier)

    def prompt(self, **inputs: Tensor | None) -> Packed:
        """Prefix and text of each row, ready to be continued: inputs as in `hidden`."""
        embeddings, valid, prefix_slots, _ = self._sequence(**inputs)
        return pack(embeddings, valid, prefix_slots, left_padded=True)

    def ends(self, max_new_tokens: int) -> Ends:
        """When texts of this model end."""
        return Ends(max_new_tokens, self.eos_ids, self.pad_id, most_of_all if self.in_step else alone)
