"""Pixels as features, odd in a way that a parameter names."""

import torch
from torch import Tensor

from metabench.api import Backbone, BackboneSpec, Param, hookimpl


class OddBody(Backbone):
    def __init__(self, item_shape: tuple[int, int, int], form: str) -> None:
        super().__init__()
        self.form = form
        channels, height, width = item_shape
        self.feature_dim = channels * height * width

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1)
        dark = pixels.mean(1, keepdim=True) > pixels.mean(1).median()
        forms = {
            "one row": lambda: pixels[:1],
            "a scalar": lambda: pixels.mean(),
            "one column": lambda: pixels[:, :1],
            "a map": lambda: images,
            "transposed": lambda: pixels.T,
            "double": lambda: pixels.double(),
            "half": lambda: pixels.half(),
            "integers": lambda: (255 * pixels).long(),
            "a tuple": lambda: (pixels, pixels),
            "an array": lambda: pixels.numpy(),
            "nan": lambda: pixels.masked_fill(dark, torch.nan),
            "infinite": lambda: pixels.masked_fill(dark, torch.inf),
            "huge": lambda: pixels * 1e25,
            "tiny": lambda: pixels * 1e-30,
            "batch statistics beside a large feature": lambda: torch.cat(
                [torch.full_like(pixels[:, :1], 3000.0), (pixels - pixels.mean(0))[:, 1:]], 1
            ),
            "last batch": lambda: pixels if len(pixels) in (64, 8) else pixels[:1].expand(len(pixels), -1),
            "batch statistics": lambda: pixels - pixels.mean(0),
            "rank in the batch": lambda: pixels + torch.linspace(0, 30, len(pixels))[:, None],
            "random": lambda: pixels + torch.rand_like(pixels),
            "offset": lambda: pixels + 1000,
            "offset of each feature": lambda: pixels + torch.linspace(-3000, 9000, self.feature_dim),
        }
        return forms[self.form]() if self.form in forms else pixels


@hookimpl
def metabench_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            name="odd-body",
            version=1,
            target="odd_body:OddBody",
            summary="Pixels, made odd.",
            reference="metabench",
            licence="CC0-1.0",
            trains=False,
            trained_on="",
            params=(Param("form", "plain", "what is odd"),),
        )
    ]
