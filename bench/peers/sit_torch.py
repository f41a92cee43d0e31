# PyTorch's side of the comparison: SiT with SRA, trained and sampled; answers one line for every line it reads.
# SPDX-License-Identifier: MIT
"""
step, sample   milliseconds of one
loss DIR       takes the weights; answers denoising loss, alignment loss and gradient norm of the batch, or root mean
               square, mean magnitude and root mean square of the first image of samples from its noise
reset, peak    forgets the peak of resident memory; the peak since then, bytes
quit

Says `ready` when it is; whoever asks warms it up, by `loss` first.  `error: ...` instead of an answer when something fails.
Architecture, loss and optimizer are those of arXiv:2401.08740 and arXiv:2505.02831.
"""

import argparse
import copy
import json
import math
import os
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {"s2": dict(hidden=384, depth=12, heads=6), "b2": dict(hidden=768, depth=12, heads=12)}
STUDENT_LAYER, TEACHER_LAYER = 3, 8  # counted from 1, published for depth 12
SIDE, CHANNELS, PATCH, CLASSES = 32, 4, 2, 1000
T_MAX, WEIGHT, DROPOUT, EMA, CLIP, LR = 0.2, 0.5, 0.1, 0.9999, 1.0, 1e-4


def position_embedding(hidden, grid):
    quarter = hidden // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = torch.meshgrid(torch.arange(grid).double(), torch.arange(grid).double(), indexing="ij")
    halves = []
    for at in (columns, rows):
        angles = at.reshape(-1, 1) * omega
        halves += [angles.sin(), angles.cos()]
    return torch.cat(halves, dim=1).float().unsqueeze(0)


class PatchEmbedding(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.proj = nn.Conv2d(CHANNELS, hidden, PATCH, stride=PATCH)

    def forward(self, x):  # [B, C, H, W] -> [B, T, D]
        b, c, h, w = x.shape
        patches = x.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(b, h * w // PATCH**2, c * PATCH**2)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # the convolution, as one product


class TimeEmbedding(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        frequencies = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t):
        angles = t[:, None].float() * self.frequencies.float()
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1)
        return self.mlp(waves.to(self.mlp[0].weight.dtype))


class LabelEmbedding(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding_table = nn.Embedding(CLASSES + 1, hidden)

    def forward(self, y):
        return self.embedding_table(y)


class Attention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))


class Mlp(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.fc1 = nn.Linear(hidden, 4 * hidden)
        self.fc2 = nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulation(hidden, parts):
    return nn.Sequential(nn.SiLU(), nn.Linear(hidden, parts * hidden))


def modulated_norm(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.attn = Attention(hidden, heads)
        self.mlp = Mlp(hidden)
        self.adaLN_modulation = modulation(hidden, 6)

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(modulated_norm(x, shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulated_norm(x, shift2, scale2))


class FinalLayer(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.linear = nn.Linear(hidden, PATCH**2 * CHANNELS)
        self.adaLN_modulation = modulation(hidden, 2)

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulated_norm(x, shift, scale))


class AlignHead(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.linear1 = nn.Linear(hidden, 2 * hidden)
        self.linear2 = nn.Linear(2 * hidden, hidden)

    def forward(self, x):
        return self.linear2(F.silu(self.linear1(x)))


class SiT(nn.Module):
    def __init__(self, hidden, depth, heads):
        super().__init__()
        grid = SIDE // PATCH
        self.pos_embed = nn.Parameter(position_embedding(hidden, grid), requires_grad=False)
        self.x_embedder = PatchEmbedding(hidden)
        self.t_embedder = TimeEmbedding(hidden)
        self.y_embedder = LabelEmbedding(hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(depth))
        self.ap_head = AlignHead(hidden)
        self.final_layer = FinalLayer(hidden)

    def embed(self, x, t, y):
        return self.x_embedder(x) + self.pos_embed, self.t_embedder(t) + self.y_embedder(y)

    def forward(self, x, t, y, layer=0):
        """The velocity, and the tokens after block `layer` (counted from 1)."""
        x, c = self.embed(x, t, y)
        tokens = None
        for i, block in enumerate(self.blocks, 1):
            x = block(x, c)
            if i == layer:
                tokens = x
        out = self.final_layer(x, c)
        b, grid = out.shape[0], SIDE // PATCH
        out = out.reshape(b, grid, grid, PATCH, PATCH, CHANNELS).permute(0, 5, 1, 3, 2, 4)
        return out.reshape(b, CHANNELS, SIDE, SIDE), tokens

    def features(self, x, t, y, layer):
        """The tokens after block `layer`; the other blocks do not run."""
        x, c = self.embed(x, t, y)
        for block in self.blocks[:layer]:
            x = block(x, c)
        return x


def read_safetensors(path):
    """The tensors of a file by name."""
    types = {"F32": torch.float32, "I32": torch.int32}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            dtype = types[info["dtype"]]
            flat = torch.frombuffer(data, dtype=dtype, offset=begin, count=(end - begin) // dtype.itemsize)
            tensors[name] = flat.reshape(info["shape"])
    return tensors


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=sorted(SIZES), default="s2")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--teacher", choices=["fair", "full"], default="fair")
    parser.add_argument("--compile", choices=["no", "default", "max-autotune"], default="no")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", choices=["step", "sample"], default="step")
    parser.add_argument("--isa", choices=["best", "avx2"], default="best", help="what compiled kernels may use")
    return parser.parse_args()


class Peer:
    def __init__(self, options):
        self.options = options
        torch.manual_seed(1)
        torch.set_num_threads(options.threads)
        torch.set_flush_denormal(True)
        torch.set_float32_matmul_precision("highest")
        self.model = SiT(**SIZES[options.model])
        self.labels = torch.randint(CLASSES, (options.batch,))
        if options.isa == "avx2":
            import torch._inductor.config as inductor

            inductor.cpp.simdlen = 256

    def compiled(self, function):
        if self.options.compile == "no":
            return function
        mode = None if self.options.compile == "default" else "max-autotune-no-cudagraphs"
        return torch.compile(function, mode=mode, dynamic=False)

    def load(self, path):
        tensors = read_safetensors(path)
        for prefix, model in self.models():
            expected = {prefix + name for name, _ in model.named_parameters()}
            found = {name for name in tensors if name.startswith(prefix)}
            if expected != found:
                raise RuntimeError(f"weights: missing {sorted(expected - found)}, unexpected {sorted(found - expected)}")
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(tensors[prefix + name])


class Training(Peer):
    def __init__(self, options):
        super().__init__(options)
        self.ema = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.live, self.averaged = list(self.model.parameters()), list(self.ema.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LR, betas=(0.9, 0.999), weight_decay=0, fused=True)
        self.x = torch.randn(options.batch, CHANNELS, SIDE, SIDE)
        self.student = self.compiled(self.student_losses)
        self.teacher = self.compiled(self.teacher_features)

    def models(self):
        return ("model.", self.model), ("ema.", self.ema)

    def teacher_features(self, x, noise, t, y):
        at = t[:, None, None, None]
        x = (1 - at) * x + at * noise
        if self.options.teacher == "fair":
            return self.ema.features(x, t, y, TEACHER_LAYER)
        return self.ema(x, t, y, TEACHER_LAYER)[1]

    def student_losses(self, x, noise, t, y, target):
        at = t[:, None, None, None]
        velocity, tokens = self.model((1 - at) * x + at * noise, t, y, STUDENT_LAYER)
        denoising = (velocity.float() - (noise - x)).square().mean()
        cosine = F.cosine_similarity(self.model.ap_head(tokens).float(), target.float(), dim=-1)
        return denoising, 1 - cosine.mean()

    def losses(self, x, noise, t, t_teacher, y):
        """Leaves gradients in the parameters."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.options.precision == "bf16"):
            with torch.no_grad():
                target = self.teacher(x, noise, t_teacher, y)
            denoising, alignment = self.student(x, noise, t, y, target)
        (denoising + WEIGHT * alignment).backward()
        return denoising, alignment

    def step(self):
        b = self.options.batch
        start = time.perf_counter()
        noise, t = torch.randn_like(self.x), torch.rand(b)
        t_teacher = (t - T_MAX * torch.rand(b)).clamp(0, 1)
        y = torch.where(torch.rand(b) < DROPOUT, CLASSES, self.labels)
        denoising, alignment = self.losses(self.x, noise, t, t_teacher, y)
        nn.utils.clip_grad_norm_(self.parameters, CLIP, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.live, 1 - EMA)
        (denoising + alignment).item()
        return (time.perf_counter() - start) * 1e3

    def check(self, folder):
        self.load(os.path.join(folder, "weights.safetensors"))
        batch = read_safetensors(os.path.join(folder, "batch.safetensors"))
        x, noise = (batch[name].permute(0, 3, 1, 2).contiguous() for name in ("x", "noise"))
        denoising, alignment = self.losses(x, noise, batch["t"], batch["t_teacher"], batch["labels"].long())
        squares = sum(p.grad.double().square().sum().item() for p in self.parameters if p.grad is not None)
        self.optimizer.zero_grad(set_to_none=True)
        return denoising.item(), alignment.item(), math.sqrt(squares)


class Sampling(Peer):
    STEPS, GUIDANCE = 50, 1.5

    def __init__(self, options):
        super().__init__(options)
        self.model.requires_grad_(False).eval()
        if options.precision == "bf16":
            self.model.bfloat16()  # all weights: faster than autocast, which converts them at every call
        if options.compile == "max-autotune":
            import torch._inductor.config as inductor

            inductor.freezing = True  # weights are constants: they may be packed
        self.velocity = self.compiled(lambda x, t, y: self.model(x, t, y)[0])

    def models(self):
        return (("ema.", self.model),)

    def sample(self):
        start = time.perf_counter()
        self.draw(torch.randn(self.options.batch, CHANNELS, SIDE, SIDE, dtype=torch.float64), self.labels)
        return (time.perf_counter() - start) * 1e3

    def draw(self, x, labels):
        n, dtype = len(labels), self.model.pos_embed.dtype
        with torch.inference_mode() if self.options.compile == "no" else torch.no_grad():
            y = torch.cat([labels, torch.full((n,), CLASSES)])
            times = torch.linspace(1, 0, self.STEPS + 1, dtype=torch.float64).tolist()
            for now, then in zip(times, times[1:]):
                both = self.velocity(torch.cat([x, x]).to(dtype), torch.full((2 * n,), now), y).double()
                conditional, null = both.chunk(2)
                x = x + (then - now) * (null + self.GUIDANCE * (conditional - null))
        if not x.isfinite().all():
            raise RuntimeError("expected finite samples")
        return x

    def check(self, folder):
        self.load(os.path.join(folder, "weights.safetensors"))
        if self.options.compile == "max-autotune":  # what was packed is of the weights before
            torch._dynamo.reset()
            self.velocity = self.compiled(lambda x, t, y: self.model(x, t, y)[0])
        batch = read_safetensors(os.path.join(folder, "batch.safetensors"))
        x = self.draw(batch["noise"].permute(0, 3, 1, 2).double(), batch["labels"].long())
        return x.square().mean().sqrt().item(), x.abs().mean().item(), x[0].square().mean().sqrt().item()


def peak_bytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def answer(peer, line):
    command, _, argument = line.partition(" ")
    if command in ("step", "sample"):
        return f"{getattr(peer, command)():.6f}"
    if command == "loss":
        return " ".join(f"{x:.10g}" for x in peer.check(argument))
    if command == "peak":
        return str(peak_bytes())
    if command == "reset":
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5\n")
        return "ok"
    return f"error: expected a command, got {line}"


def one_line(error):
    return f"error: {type(error).__name__}: " + " ".join(str(error).split())[:300]


def main():
    options = parse_options()
    replies = os.fdopen(os.dup(1), "w", buffering=1)  # other output of PyTorch goes where errors go
    os.dup2(2, 1)
    try:
        peer = (Training if options.mode == "step" else Sampling)(options)
    except Exception as error:
        print(one_line(error), file=replies)
        return 1
    print("ready", file=replies)
    for line in sys.stdin:
        line = line.strip()
        if line == "quit":
            break
        try:
            print(answer(peer, line), file=replies)
        except Exception as error:
            print(one_line(error), file=replies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
