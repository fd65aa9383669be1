"""The eight networks of Gueguen et al. (NeurIPS 2018) and torchvision's ResNet-50, by hand in PyTorch.

Written from the layer tables alone, as a check on everything that the library makes from its own lists of layers: nothing here reads
those lists. Channels are the paper's; the width factor scales them. Every tensor's shape is compared with what the table says, and
every tensor of the file must be used.
"""

import math

import torch
import torch.nn.functional as F


class Network:
    """The building blocks, over the tensors of one weights file."""

    def __init__(self, tensors, config):
        self.tensors = {name: tensor.double() for name, tensor in tensors.items()}
        self.unused = set(tensors)
        self.config = config
        self.v15 = config["network"] == "resnet50-rgb-v1.5"

    def run(self, inputs):
        """Logits [N, classes] of inputs [N, C, H, W] under the names `y`, `cb`, `cr` or `rgb`."""
        logits = NETWORKS[self.config["network"]](self, **{name: x.double() for name, x in inputs.items()})
        assert not self.unused, f"tensors that no layer uses: {sorted(self.unused)}"
        return logits

    def scaled(self, channels):
        """max(8, 8 * round(channels * width / 8)), halves rounded up."""
        return max(8, 8 * math.floor(channels * self.config["width"] / 8 + 0.5))

    def tensor(self, name, *shape):
        self.unused.discard(name)
        tensor = self.tensors[name]
        assert tuple(tensor.shape) == shape, f"{name} is {tuple(tensor.shape)}, the table says {shape}"
        return tensor

    def bn(self, name, x):
        mean, var, weight, bias = (
            self.tensor(f"{name}.{part}", x.shape[1]) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=self.config["eps"])

    def conv(self, name, x, k, s, out, padding=0):
        """A k x k convolution to exactly `out` channels."""
        return F.conv2d(x, self.tensor(f"{name}.weight", out, x.shape[1], k, k), stride=s, padding=padding)

    def deconv(self, name, x):
        return F.conv_transpose2d(x, self.tensor(f"{name}.weight", 64, 64, 2, 2), stride=2)

    def same(self, name, x, k, s, out):
        """Stride 1 keeps the size. k = 2 pads bottom and right, as TensorFlow does."""
        if k == 2:
            return self.conv(name, F.pad(x, (0, 1, 0, 1)), 2, s, out)
        return self.conv(name, x, k, s, out, padding=k // 2)

    def main_path(self, unit, x, k, s, f1, f2, f3):
        s1, s2 = (1, s) if self.v15 else (s, 1)
        x = F.relu(self.bn(f"bn{unit}_branch2a", self.conv(f"res{unit}_branch2a", x, 1, s1, f1)))
        x = F.relu(self.bn(f"bn{unit}_branch2b", self.same(f"res{unit}_branch2b", x, k, s2, f2)))
        return self.bn(f"bn{unit}_branch2c", self.conv(f"res{unit}_branch2c", x, 1, 1, f3))

    def cb(self, unit, x, k, s, filters):
        """CB(k, s, [f1, f2, f3]), the convolution block."""
        f1, f2, f3 = map(self.scaled, filters)
        shortcut = self.bn(f"bn{unit}_branch1", self.conv(f"res{unit}_branch1", x, 1, s, f3))
        return F.relu(self.main_path(unit, x, k, s, f1, f2, f3) + shortcut)

    def ib(self, unit, x, k, filters):
        """IB(k, [f1, f2, f3]), the identity block; f3 is the input's own width, which a merge may have made other than scaled."""
        f1, f2 = map(self.scaled, filters[:2])
        return F.relu(self.main_path(unit, x, k, 1, f1, f2, x.shape[1]) + x)

    def tail(self, x):
        """What all networks share, from the 1024 channels (14 x 14 for 224 x 224) before res4b."""
        for unit in ("4b", "4c", "4d", "4e", "4f"):
            x = self.ib(unit, x, 3, [256, 256, 1024])
        x = self.cb("5a", x, 3, 2, [512, 512, 2048])
        x = self.ib("5b", x, 3, [512, 512, 2048])
        x = self.ib("5c", x, 3, [512, 512, 2048])
        x = x.mean(dim=(2, 3))
        classes = self.config["classes"]
        return F.linear(x, self.tensor("fc.weight", classes, x.shape[1]), self.tensor("fc.bias", classes))


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def resnet50_rgb(n, rgb):
    normalization = n.config["normalization"]
    mean, std = (torch.tensor(normalization[part]).double().view(1, 3, 1, 1) for part in ("mean", "std"))
    x = n.conv("conv1", (rgb - mean) / std, 7, 2, n.scaled(64), padding=3)
    x = F.relu(n.bn("bn_conv1", x))
    x = F.max_pool2d(x, 3, 2, padding=1 if n.v15 else 0)
    x = n.cb("2a", x, 3, 1, [64, 64, 256])
    x = n.ib("2b", x, 3, [64, 64, 256])
    x = n.ib("2c", x, 3, [64, 64, 256])
    x = n.cb("3a", x, 3, 2, [128, 128, 512])
    x = n.ib("3b", x, 3, [128, 128, 512])
    x = n.ib("3c", x, 3, [128, 128, 512])
    x = n.ib("3d", x, 3, [128, 128, 512])
    x = n.cb("4a", x, 3, 2, [256, 256, 1024])
    return n.tail(x)


def upsampling(n, y, cb, cr):
    x = n.bn("bn_input", torch.cat([y, upsample(cb), upsample(cr)], dim=1))
    x = n.cb("3a", x, 3, 1, [128, 128, 512])
    x = n.ib("3b", x, 3, [128, 128, 512])
    x = n.ib("3c", x, 3, [128, 128, 512])
    x = n.ib("3d", x, 3, [128, 128, 512])
    x = n.cb("4a", x, 3, 2, [256, 256, 1024])
    return n.tail(x)


def rfa(n, x, stride_4a):
    """Stages 2 to 4a of UpSampling-RFA, Deconvolution-RFA and DownSampling."""
    x = n.cb("2a", x, 1, 1, [256, 256, 1024])
    x = n.ib("2b", x, 2, [256, 256, 1024])
    x = n.ib("2c", x, 3, [256, 256, 1024])
    x = n.cb("3a", x, 3, 1, [128, 128, 512])
    x = n.ib("3b", x, 3, [128, 128, 512])
    x = n.ib("3c", x, 3, [128, 128, 512])
    x = n.ib("3d", x, 3, [128, 128, 512])
    return n.cb("4a", x, 3, stride_4a, [256, 256, 1024])


def upsampling_rfa(n, y, cb, cr):
    x = n.bn("bn_input", torch.cat([y, upsample(cb), upsample(cr)], dim=1))
    return n.tail(rfa(n, x, 2))


def deconvolution_rfa(n, y, cb, cr):
    cb = n.deconv("conv_cb_upsample", cb)
    cr = n.deconv("conv_cr_upsample", cr)
    x = n.bn("bn_input", torch.cat([y, cb, cr], dim=1))
    return n.tail(rfa(n, x, 2))


def downsampling(n, y, cb, cr):
    y = n.conv("conv_y", y, 2, 2, n.scaled(256))
    x = n.bn("bn_input", torch.cat([y, cb, cr], dim=1))
    return n.tail(rfa(n, x, 1))


def late_concat(n, y, cb, cr):
    y = n.bn("bn_y", y)
    y = n.cb("3a", y, 3, 1, [128, 128, 512])
    y = n.ib("3b", y, 3, [128, 128, 512])
    y = n.ib("3c", y, 3, [128, 128, 512])
    y = n.ib("3d", y, 3, [128, 128, 512])
    y = n.cb("4a", y, 3, 2, [256, 256, 512])
    c = n.bn("bn_c", torch.cat([cb, cr], dim=1))
    c = n.cb("4x", c, 1, 1, [256, 256, 512])
    return n.tail(torch.cat([y, c], dim=1))


def late_concat_rfa(n, y, cb, cr):
    y = n.bn("bn_y", y)
    y = n.cb("2a", y, 1, 1, [256, 256, 1024])
    y = n.ib("2b", y, 2, [256, 256, 1024])
    y = n.ib("2c", y, 3, [256, 256, 1024])
    y = n.cb("3a", y, 3, 1, [128, 128, 512])
    y = n.ib("3b", y, 3, [128, 128, 512])
    y = n.ib("3c", y, 3, [128, 128, 512])
    y = n.ib("3d", y, 3, [128, 128, 512])
    y = n.cb("4a", y, 3, 2, [256, 256, 512])
    c = n.bn("bn_c", torch.cat([cb, cr], dim=1))
    c = n.cb("4x", c, 1, 1, [256, 256, 512])
    return n.tail(torch.cat([y, c], dim=1))


def late_concat_rfa_thinner(n, y, cb, cr):
    y = n.bn("bn_y", y)
    y = n.cb("2a", y, 1, 1, [96, 96, 384])
    y = n.ib("2b", y, 2, [96, 96, 384])
    y = n.ib("2c", y, 3, [96, 96, 384])
    y = n.cb("3a", y, 3, 1, [96, 96, 384])
    y = n.ib("3b", y, 3, [96, 96, 384])
    y = n.ib("3c", y, 3, [96, 96, 384])
    y = n.ib("3d", y, 3, [96, 96, 384])
    y = n.cb("4a", y, 3, 2, [192, 192, 768])
    c = n.bn("bn_c", torch.cat([cb, cr], dim=1))
    c = n.cb("4x", c, 1, 1, [128, 128, 256])
    return n.tail(torch.cat([y, c], dim=1))


NETWORKS = {
    "resnet50-rgb": resnet50_rgb,
    "upsampling": upsampling,
    "upsampling-rfa": upsampling_rfa,
    "deconvolution-rfa": deconvolution_rfa,
    "downsampling": downsampling,
    "late-concat": late_concat,
    "late-concat-rfa": late_concat_rfa,
    "late-concat-rfa-thinner": late_concat_rfa_thinner,
    # As resnet50_rgb but for the padding of its pool and the place of the stride, which `Network.v15` decides.
    "resnet50-rgb-v1.5": resnet50_rgb,
}
