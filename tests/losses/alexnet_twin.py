"""LPIPS written slowly from its sources, and random weights of AlexNet."""

import torch
from torch import nn
from torch.nn import functional

from partnerface.losses.lpips_network import CONVOLUTIONS, torchmetrics_heads


def random_features() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = {}
    for number, (out, inputs, kernel, _, _) in CONVOLUTIONS.items():
        deviation = (inputs * kernel * kernel) ** -0.5
        features[f"features.{number}.weight"] = (
            torch.randn(out, inputs, kernel, kernel, generator=generator) * deviation
        )
        features[f"features.{number}.bias"] = 0.1 * torch.randn(out, generator=generator)
    return features


def slow_twin(features: dict[str, torch.Tensor], first: torch.Tensor, second: torch.Tensor) -> float:
    """LPIPS of one pair, written as torchvision writes AlexNet and as the paper writes its equation 1."""
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )
    layers.load_state_dict({name.removeprefix("features."): value for name, value in features.items()})
    mean, deviation = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    maps = []
    for image in (first, second):
        values = ((image.permute(1, 2, 0) * 2 - 1 - mean) / deviation).permute(2, 0, 1)[None]
        taken = []
        for layer in layers:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                taken.append(values[0].detach())
        maps.append(taken)
    total = 0.0
    for one, other, head in zip(*maps, torchmetrics_heads(), strict=True):
        difference = (functional.normalize(one, dim=0) - functional.normalize(other, dim=0)) ** 2
        _, height, width = one.shape
        total += sum(
            float(head[0, :, 0, 0] @ difference[:, y, x]) for y in range(height) for x in range(width)
        ) / (height * width)
    return total
