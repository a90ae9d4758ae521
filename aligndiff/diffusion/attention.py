"""Heatmaps of a category from cross-attention, recorded while the diffusion model draws.

Only what the heatmap needs is kept: the cross-attention layers of the down and up blocks, the
conditional half of the batch, the tokens of the category, as one float32 running sum per
resolution. The layers' own output is computed by their own processors, untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from aligndiff.core.errors import AlignDiffError

# Halvings of the latent grid that are read: 64, 32 and 16 positions for 512 px. Coarser maps do not
# outline an object any more.
LEVELS = 3
# A maximum of zero, which only an underflow can make, must not turn a map into NaN.
SMALLEST_MAXIMUM = torch.finfo(torch.float32).tiny


class AttentionRecorder:
    """While open, sums the attention of image positions to some tokens of the text.

        with AttentionRecorder(pipe.unet, token_indices, samples=4, grid=(64, 64)) as recorder:
            pipe(...)
        heatmaps = fuse_heatmap(recorder.maps(), size=(512, 512))

    On leaving, also by an exception, every attention processor is the one that was there before.
    Drawing is not changed in a single bit. One recorder serves one pipeline call.
    """

    def __init__(
        self, unet: nn.Module, token_indices: Sequence[int], samples: int, grid: tuple[int, int]
    ) -> None:
        """`token_indices`: which tokens; `grid`: (h, w) of the latents; `samples`: images.

        The last `samples` rows of a batch are taken as the conditional ones, which holds with
        guidance (unconditional rows first) and without (no other rows).
        """
        self._unet: Any = unet
        self._samples = samples
        device = next(unet.parameters()).device
        self._token_indices = torch.tensor(list(token_indices), device=device)
        self._grids: dict[int, tuple[int, int]] = {}  # by their number of positions
        for _ in range(LEVELS):
            self._grids.setdefault(grid[0] * grid[1], grid)
            grid = (-(-grid[0] // 2), -(-grid[1] // 2))  # a UNet halves odd sides upwards
        # Sums and counts are tensors of fixed shape, changed in place: torch.compile keeps its
        # graph from step to step.
        self._sums = {
            positions: torch.zeros(samples, len(token_indices), positions, device=device)
            for positions in self._grids
        }
        self._calls = {positions: torch.zeros((), device=device) for positions in self._grids}
        self._replaced: dict[str, Any] = {}

    def __enter__(self) -> AttentionRecorder:
        self._replaced = dict(self._unet.attn_processors)
        self._unet.set_attn_processor(
            {
                name: _RecordingProcessor(processor, self) if _is_recorded(name) else processor
                for name, processor in self._replaced.items()
            }
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A copy, because set_attn_processor empties the dict that it is given.
        self._unet.set_attn_processor(dict(self._replaced))

    def maps(self) -> list[Tensor]:
        """Mean attention per resolution, finest first: float32 (samples, tokens, h, w) in [0, 1].

        The mean is over heads, UNet calls (PNDM makes one more than it has steps) and the layers
        of a resolution; a resolution without cross-attention is absent.
        """
        recorded = [positions for positions in self._grids if self._calls[positions] > 0]
        if not recorded:
            raise AlignDiffError(
                "no cross-attention was recorded at 1, 1/2 or 1/4 of the latent size: "
                "this diffusion model cannot give heatmaps"
            )
        return [
            (self._sums[positions] / self._calls[positions]).unflatten(-1, self._grids[positions])
            for positions in recorded
        ]

    @torch.no_grad()
    def _record(self, attn: Any, positions: Tensor, text: Tensor) -> None:
        """Add one layer's attention of `positions` (batch, h * w, c) to `text` (batch, 77, d)."""
        total = self._sums.get(positions.shape[1])
        if total is None:
            return
        rows = slice(-self._samples, None)
        shares = _attention(attn, positions[rows], text[rows], self._token_indices)
        total.add_(shares.mean(1).transpose(1, 2))
        self._calls[positions.shape[1]].add_(1)


def fuse_heatmap(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Fuse the maps of all resolutions and tokens into float32 (samples, h, w), at most 1.

    `maps` are float32 (samples, tokens, h_i, w_i), `size` is the image's (h, w). Each map is
    resized (bicubic, a = -0.75), then divided by its own maximum; the resolutions are averaged,
    then the tokens. Bicubic overshoot can leave values a little below 0.
    """
    fused = torch.zeros(*maps[0].shape[:2], *size, device=maps[0].device)
    for coarse in maps:
        full = _bicubic(coarse.shape[-2], size[0], coarse) @ coarse
        full = full @ _bicubic(coarse.shape[-1], size[1], coarse).T
        maximum = full.amax((-2, -1), keepdim=True).clamp_min(SMALLEST_MAXIMUM)
        fused.addcmul_(full, maximum.reciprocal())
    return fused.mean(1) / len(maps)


def _bicubic(positions: int, pixels: int, like: Tensor) -> Tensor:
    """The bicubic resize of one axis as a matrix, (pixels, positions): quicker than a resize.

    An axis that keeps its length is left as it is, so a resized identity is that matrix.
    """
    identity = torch.eye(positions, dtype=like.dtype, device=like.device)[None, None]
    resized = functional.interpolate(identity, size=(pixels, positions), mode="bicubic")
    return resized[0, 0]


def heatmap_to_uint8(heatmap: Tensor) -> NDArray[np.uint8]:
    """Grey levels uint8 of a float heatmap of any shape: clipped to [0, 1], x 255, truncated."""
    return (heatmap.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()


class _RecordingProcessor:
    """Lets `inner` compute the layer's output, then shows the layer's input to the recorder."""

    def __init__(self, inner: Any, recorder: AttentionRecorder) -> None:
        self._inner = inner
        self._recorder = recorder

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        output: Tensor = self._inner(
            attn,
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=attention_mask,
        )
        self._recorder._record(attn, hidden_states, encoder_hidden_states)
        return output


def _is_recorded(name: str) -> bool:
    """Cross-attention ("attn2") of the down and up blocks; the middle is too coarse."""
    return "attn2" in name and name.startswith(("down_blocks", "up_blocks"))


def _attention(attn: Any, positions: Tensor, text: Tensor, token_indices: Tensor) -> Tensor:
    """Some tokens of softmax(q k^T / sqrt(d)) over all text, float32 (n, heads, h * w, tokens).

    The scores of all tokens are much larger than the layer itself, so there is one copy of them at
    a time: the softmax is taken in place.
    """
    if attn.norm_cross:
        text = attn.norm_encoder_hidden_states(text)
    query = attn.to_q(positions).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
    key = attn.to_k(text).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    # float32 from here on: 16-bit scores would blur the maps by several grey levels.
    scaled = key.float() * query.shape[-1] ** -0.5
    scores = query.float() @ scaled.transpose(-1, -2)
    weights = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    return weights.index_select(-1, token_indices) / weights.sum(-1, keepdim=True)
