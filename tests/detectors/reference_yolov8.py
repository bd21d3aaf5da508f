"""YOLOv8 a second time, in plain PyTorch, as an independent reference.

Written from the description of the architecture, one flat list of layers with the
names that Ultralytics' checkpoints have (``model.0`` ... ``model.22``). It shares no
code with aerialkd: sizes, channels and wiring are stated here on their own.
"""

import math

import torch
from torch import nn

SCALES = {  # depth, width, most channels
    'n': (0.33, 0.25, 1024),
    's': (0.33, 0.50, 1024),
    'm': (0.67, 0.75, 768),
    'l': (1.00, 1.00, 512),
    'x': (1.00, 1.25, 512),
}


class Conv(nn.Module):
    def __init__(self, c1, c2, k=1, s=1):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, (k - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return x * torch.sigmoid(x)


class Pair(nn.Module):
    def __init__(self, c, add):
        super().__init__()
        self.cv1, self.cv2, self.add = Conv(c, c, 3), Conv(c, c, 3), add

    def forward(self, x):
        return self.cv2(self.cv1(x)) + (x if self.add else 0)


class Split(nn.Module):
    """C2f."""

    def __init__(self, c1, c2, n, add):
        super().__init__()
        self.half = c2 // 2
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(self.half * (n + 2), c2)
        self.m = nn.ModuleList([Pair(self.half, add) for _ in range(n)])

    def forward(self, x):
        x = self.cv1(x)
        last = x[:, self.half :]
        for module in self.m:
            last = module(last)
            x = torch.cat([x, last], dim=1)
        return self.cv2(x)


class Pool(nn.Module):
    """SPPF, with maxima over 5, 9 and 13 cells instead of a chain of three."""

    def __init__(self, c):
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c // 2), Conv(c * 2, c)

    def forward(self, x):
        x = self.cv1(x)
        pooled = [nn.functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)]
        return self.cv2(torch.cat([x, *pooled], dim=1))


class Bins(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data = torch.arange(16.0).view(1, 16, 1, 1)

    def forward(self, x):
        """(N, 64, H, W) to expected distances (N, 4, H, W) in strides."""
        n, _, h, w = x.shape
        x = x.view(n, 4, 16, h * w).transpose(1, 2).softmax(1)
        return self.conv(x).view(n, 4, h, w)


class Detect(nn.Module):
    def __init__(self, nc, channels):
        super().__init__()
        c2 = max(16, channels[0] // 4, 64)
        c3 = max(channels[0], min(nc, 100))
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, c2, 3), Conv(c2, c2, 3), nn.Conv2d(c2, 64, 1))
            for c in channels
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(Conv(c, c3, 3), Conv(c3, c3, 3), nn.Conv2d(c3, nc, 1))
            for c in channels
        )
        self.dfl = Bins()

    def forward(self, maps):
        boxes = [branch(x) for branch, x in zip(self.cv2, maps, strict=True)]
        classes = [branch(x) for branch, x in zip(self.cv3, maps, strict=True)]
        return classes, boxes


class ReferenceYOLOv8(nn.Module):
    """Class logits and box distributions of each level, from images (N, 3, H, W)."""

    def __init__(self, scale='n', nc=80):
        super().__init__()
        depth, width, most = SCALES[scale]

        def c(base):
            return math.ceil(min(base, most) * width / 8) * 8

        def n(base):
            return max(1, round(base * depth))

        self.model = nn.Sequential(
            Conv(3, c(64), 3, 2),  # 0
            Conv(c(64), c(128), 3, 2),
            Split(c(128), c(128), n(3), True),
            Conv(c(128), c(256), 3, 2),
            Split(c(256), c(256), n(6), True),  # 4, stride 8
            Conv(c(256), c(512), 3, 2),
            Split(c(512), c(512), n(6), True),  # 6, stride 16
            Conv(c(512), c(1024), 3, 2),
            Split(c(1024), c(1024), n(3), True),
            Pool(c(1024)),  # 9, stride 32
            nn.Upsample(scale_factor=2),
            nn.Identity(),  # joined with 6
            Split(c(1024) + c(512), c(512), n(3), False),  # 12
            nn.Upsample(scale_factor=2),
            nn.Identity(),  # joined with 4
            Split(c(512) + c(256), c(256), n(3), False),  # 15, stride 8
            Conv(c(256), c(256), 3, 2),
            nn.Identity(),  # joined with 12
            Split(c(256) + c(512), c(512), n(3), False),  # 18, stride 16
            Conv(c(512), c(512), 3, 2),
            nn.Identity(),  # joined with 9
            Split(c(512) + c(1024), c(1024), n(3), False),  # 21, stride 32
            Detect(nc, [c(256), c(512), c(1024)]),
        )

    def forward(self, x):
        joined = {11: 6, 14: 4, 17: 12, 20: 9}
        seen = []
        for index, layer in enumerate(self.model[:-1]):
            if index in joined:
                x = torch.cat([x, seen[joined[index]]], dim=1)
            x = layer(x)
            seen.append(x)
        return self.model[22]([seen[15], seen[18], seen[21]])


def different_images(height, width):
    """Two images (2, 3, H, W) of large coloured patches: noise would look alike."""
    patches = torch.rand(2, 3, 4, 4)
    return nn.functional.interpolate(patches, size=(height, width), mode='bilinear')


def trained(scale, nc, seed=0):
    """A reference with random weights and running statistics that fit them.

    Without the statistics the signal would die out on its way through sixty layers, and
    the outputs would be the same for all images.
    """
    torch.manual_seed(seed)
    model = ReferenceYOLOv8(scale, nc)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = 1.0
    for branch in (*model.model[22].cv2, *model.model[22].cv3):
        nn.init.normal_(branch[-1].weight, std=0.3)
    with torch.no_grad():
        model.train()(different_images(64, 64))
    for norm in norms:
        norm.num_batches_tracked.fill_(7)
    return model.eval()
