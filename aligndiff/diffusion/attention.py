"""What image positions attend to, seen while a model draws.

Every layer computes its attention itself, by torch's `scaled_dot_product_attention`. A mode of
torch sees those calls, and hooks say which layer makes them. Only what is asked for is kept, as
float32 running sums of fixed shapes: the category's tokens, of the conditional half of a batch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from aligndiff.core.errors import AlignDiffError
from aligndiff.diffusion.families import Family
from aligndiff.diffusion.pipeline import denoiser, family_of, is_guided, latent_grid

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# Halvings of the latent grid that are read in a UNet: 64, 32 and 16 positions for 512 px. Coarser
# maps do not outline an object any more.
LEVELS = 3
# With more keys than this, the scores of all of them are not kept at once.
MOST_KEYS = 512

Grid = tuple[int, int]  # (h, w) of the image positions of a layer


@dataclass
class LayerSums:
    """What one layer attended to, summed over the calls of the denoiser.

    Attributes:
        grid: (h, w) of its image positions.
        text: float32 (samples, heads, tokens, h * w), heads 1 for their mean: attention of image
            positions to tokens; None if not asked for.
        image: float32 (samples, h * w, h * w): of image positions (first) to others, the mean over
            heads; None if not asked for.
        calls: float32 scalar, how many calls were summed.
    """

    grid: Grid
    text: Tensor | None
    image: Tensor | None
    calls: Tensor


class AttentionTap:
    """While open, sums the attention of image positions to some tokens of the text.

        with AttentionTap(pipe, prompt.token_indices, samples=4, size=(512, 512)) as tap:
            pipe(...)
        heatmaps = fuse_heatmap(tap.maps(), size=(512, 512))

    `tap.layers` holds the sums of each layer by its name in the denoiser. Drawing is not changed in
    a single bit; nothing is replaced, and on leaving, also by an exception, the hooks are gone.
    Leaving raises AlignDiffError for a layer that never came: there is no empty heatmap. One tap
    serves one pipeline call.
    """

    def __init__(
        self,
        pipe: DiffusionPipeline,
        token_indices: Sequence[int],
        samples: int,
        size: Grid,
        guidance_scale: float = 1.0,
        per_head: bool = False,
        image_layers: Collection[str] = (),
        text_layers: Collection[str] | None = None,
    ) -> None:
        """`token_indices`: those of `EncodedPrompt`; `samples`: images of `size` (h, w) pixels.

        `text_layers`, by name, are those whose attention to the tokens is summed; if none are
        given, those of the family's heatmaps (`heatmap_layers`). `per_head` keeps a sum for each
        head; of `image_layers`, by name, image-to-image attention is summed too (self-attention
        layers of a UNet are `...attn1`).
        """
        family, self._denoiser = family_of(pipe), denoiser(pipe)
        grids = layer_grids(pipe, size)
        if text_layers is None:
            text_layers = heatmap_layers(family, grids)
        if not text_layers:
            raise AlignDiffError(
                "this diffusion model has no layer in which image positions of a fine enough grid "
                "look at text: it cannot give heatmaps"
            )
        self._samples, self._conditional = samples, family.conditional
        self._image = family.image
        # Calls of the denoiser in one step, of which the first is conditional.
        two_calls = family.conditional == "first call" and is_guided(pipe, guidance_scale)
        self._turns = 2 if two_calls else 1
        device = pipe._execution_device  # also where networks wait elsewhere (--offload)
        start = _padded_positions(pipe, size) if any(t.after_image for t in family.text) else 0
        self._tokens = torch.tensor([index + start for index in token_indices], device=device)
        self.layers: dict[str, LayerSums] = {}
        for name in [*text_layers, *(name for name in image_layers if name not in text_layers)]:
            heads = self._denoiser.get_submodule(name).heads if per_head else 1
            positions = grids[name][0] * grids[name][1]
            text = (samples, heads, len(token_indices), positions) if name in text_layers else None
            image = (samples, positions, positions) if name in image_layers else None
            self.layers[name] = LayerSums(
                grids[name],
                None if text is None else torch.zeros(text, device=device),
                None if image is None else torch.zeros(image, device=device),
                torch.zeros((), device=device),
            )
        self._handles: list[Any] = []

    def __enter__(self) -> AttentionTap:
        for name in self.layers:
            layer = self._denoiser.get_submodule(name)
            self._handles.append(layer.register_forward_pre_hook(partial(_enter_layer, name)))
            self._handles.append(layer.register_forward_hook(_leave_layer))
        if self._turns > 1:
            turn = partial(_next_turn, self._turns)
            self._handles.append(self._denoiser.register_forward_pre_hook(turn))
        _SEEN.tap, _SEEN.turn = self, self._turns - 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        _SEEN.tap = None
        while _SEEN in _get_current_function_mode_stack():  # an error came from inside a layer
            _SEEN.__exit__(kind, error, trace)
        if error is None:
            self._check_seen()

    def _check_seen(self) -> None:
        calls = torch.stack([sums.calls for sums in self.layers.values()]).tolist()
        unseen = [name for name, count in zip(self.layers, calls, strict=True) if not count]
        if unseen:
            raise AlignDiffError(
                f"the attention of {unseen[0]} was not seen ({len(unseen)} of {len(calls)} layers)"
                ": heatmaps need torch's scaled_dot_product_attention, diffusers' default backend"
            )

    def maps(self) -> list[Tensor]:
        """Mean attention per grid, finest first: float32 (samples, tokens, h, w) in [0, 1].

        The mean is over heads, calls of the denoiser (PNDM makes one more than it has steps) and
        the layers of a grid.
        """
        totals: dict[Grid, Tensor] = {}
        calls: dict[Grid, Tensor] = {}
        for sums in self.layers.values():
            if sums.text is not None:
                totals[sums.grid] = totals.get(sums.grid, 0) + sums.text.mean(1)
                calls[sums.grid] = calls.get(sums.grid, 0) + sums.calls
        finest_first = sorted(totals, key=lambda grid: -grid[0] * grid[1])
        return [(totals[grid] / calls[grid]).unflatten(-1, grid) for grid in finest_first]

    def record(
        self,
        layer: str,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        """Add one call of `scaled_dot_product_attention`, whose arguments these are."""
        sums = self.layers[layer]
        rows = {"last": slice(-self._samples, None), "first": slice(self._samples)}.get(
            self._conditional, slice(None)
        )
        positions = sums.grid[0] * sums.grid[1]
        image = {"first": slice(positions), "last": slice(-positions, None)}.get(
            self._image, slice(None)
        )
        query, key = query[rows], key[rows]
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        query = query[:, :, image]
        if attn_mask is not None:
            attn_mask = attn_mask[rows] if attn_mask.shape[0] > 1 else attn_mask
            attn_mask = attn_mask[..., image, :] if attn_mask.shape[-2] > 1 else attn_mask
        seen = Attention(query, key, attn_mask, scale or query.shape[-1] ** -0.5)
        if sums.text is not None:
            shares = seen.to_tokens(self._tokens).transpose(-2, -1)
            sums.text.add_(shares if sums.text.shape[1] > 1 else shares.mean(1, keepdim=True))
        if sums.image is not None:
            seen.add_to_image(sums.image, image)
        sums.calls.add_(1)


def heatmap_layers(family: Family, names: Iterable[str], all_depths: bool = False) -> list[str]:
    """Those of the attention layers `names`, in order, that a family's heatmaps are taken from.

    With `all_depths` every layer in which image positions look at text.
    """
    layers = [name for name in names if re.fullmatch(family.layers, name)]
    start, stop = (math.floor(len(layers) * share) for share in family.depth)
    return layers if all_depths else layers[start : max(stop, start + 1)]


def layer_grids(pipe: DiffusionPipeline, size: Grid) -> dict[str, Grid]:
    """The grids (h, w) of image positions of attention layers, by their names in the denoiser.

    `size` (h, w) is the image's in pixels. Of a UNet, those of the blocks on the way down and up on
    the `LEVELS` finest grids.
    """
    family, network = family_of(pipe), denoiser(pipe)
    grid = latent_grid(pipe, size)
    names = [name for name, module in network.named_modules() if hasattr(module, "heads")]
    if not hasattr(network, "down_blocks"):
        tokens = (grid[0] // family.patch, grid[1] // family.patch)
        return dict.fromkeys(names, tokens)
    grids = [grid]
    for _ in range(LEVELS - 1):
        grids.append((-(-grids[-1][0] // 2), -(-grids[-1][1] // 2)))  # odd sides: upwards
    blocks = {f"down_blocks.{level}": level for level in range(len(network.down_blocks))}
    last = len(network.up_blocks) - 1
    blocks |= {f"up_blocks.{last - level}": level for level in range(len(network.up_blocks))}
    levels = {name: blocks.get(".".join(name.split(".")[:2]), LEVELS) for name in names}
    return {name: grids[level] for name, level in levels.items() if level < LEVELS}


def _padded_positions(pipe: DiffusionPipeline, size: Grid) -> int:
    """How many keys the image has where text stands after it."""
    family, (height, width) = family_of(pipe), latent_grid(pipe, size)
    positions = (height // family.patch) * (width // family.patch)
    return -(-positions // family.image_multiple) * family.image_multiple


@dataclass(frozen=True)
class Attention:
    """One attention call of image positions: softmax(query key^T scale + mask).

    query: (n, heads, positions, d), key: (n, heads, keys, d), mask: as torch's, or None.
    """

    query: Tensor
    key: Tensor
    mask: Tensor | None
    scale: float

    def to_tokens(self, tokens: Tensor) -> Tensor:
        """The shares of some keys, float32 (n, heads, positions, tokens).

        `tokens` int64: negative ones count from the last key.
        """
        keys = self.key.shape[2]
        tokens = torch.where(tokens < 0, tokens + keys, tokens)
        if keys > MOST_KEYS:
            return self._by_values(tokens)
        # float32 from here on: 16-bit scores would blur the maps by several grey levels. All scores
        # are much larger than the layer itself: the softmax is taken in place of the only copy.
        scores = self.query.float() @ (self.key.float() * self.scale).transpose(-1, -2)
        scores = _masked(scores, self.mask)
        # The greatest score has no gradient: it cancels out.
        weights = scores.sub_(scores.detach().amax(-1, keepdim=True)).exp_()
        return weights.index_select(-1, tokens) / weights.sum(-1, keepdim=True)

    def _by_values(self, tokens: Tensor) -> Tensor:
        """The same without the scores: attention to values that are 1 at one token each.

        The kernel sums scores and softmax in float32; its result has the layer's type.
        """
        dim, parts = self.query.shape[-1], []
        for some in tokens.split(dim):
            values = torch.zeros_like(self.key[:1, :1])
            values[..., some, torch.arange(len(some), device=some.device)] = 1
            values = values.expand(*self.key.shape[:2], -1, -1)
            shares = functional.scaled_dot_product_attention(
                self.query, self.key, values, self.mask, scale=self.scale
            )
            parts.append(shares[..., : len(some)].float())
        return torch.cat(parts, -1)

    def add_to_image(self, total: Tensor, image: slice) -> None:
        """Add the mean over heads of the shares of image positions, to (n, positions, positions).

        One head at a time: all scores at once would be larger than all else together.
        """
        heads = self.query.shape[1]
        for head in range(heads):
            mask = self.mask
            if mask is not None and mask.ndim == 4:
                mask = mask[:, head if mask.shape[1] > 1 else 0]
            scaled = self.key[:, head].float() * (self.scale)
            scores = _masked(self.query[:, head].float() @ scaled.transpose(-1, -2), mask)
            total.add_(scores.softmax(-1)[..., image], alpha=1 / heads)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill_(~mask, -torch.inf)
    return scores.add_(mask)


class _SeenAttention(TorchFunctionMode):
    """Shows a tap the attention calls of the layers that it has sums for.

    It is on in these layers only, because every call of torch costs a little more with it. There is
    one for all taps: a compiled denoiser keeps the hooks that it was traced with.
    """

    tap: AttentionTap | None = None
    layer = ""
    turn = 0  # which of the calls of one denoising step runs: 0 is the conditional one

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is functional.scaled_dot_product_attention:
            if self.tap is not None and self.turn == 0:
                self.tap.record(self.layer, *args, **(kwargs or {}))
        return output


_SEEN = _SeenAttention()


def _enter_layer(name: str, *_: Any) -> None:
    _SEEN.layer = name
    _SEEN.__enter__()


def _leave_layer(*_: Any) -> None:
    _SEEN.__exit__(None, None, None)


def skip_unconditional_call() -> None:
    """The denoiser's second call of a step is left out: the next one is conditional again."""
    _SEEN.turn = 1


def _next_turn(turns: int, *_: Any) -> None:
    _SEEN.turn = (_SEEN.turn + 1) % turns
