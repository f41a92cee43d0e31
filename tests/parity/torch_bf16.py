# Measures how far PyTorch's bf16 is from the goldens, by which parity allows ours to be; a tool of development.
# SPDX-License-Identifier: MIT
"""
torch_bf16.py GOLDENS...

Computes what is in a folder of goldens with PyTorch, in float32, which must agree with them, and under bf16 autocast,
and writes how far the latter deviates to bf16/FOLDER.txt beside this file: with the residual stream in float32, as autocast
has it, and in bf16, as a backend may choose.

A deviation is one draw of all roundings: a loss may be near the exact one by chance, and whether AdamW's first step
turns round where a gradient is nearly zero is chance, too.  So each number is the largest of DRAWS draws: the first of
the file as it is, the others of numbers off by up to a unit in the last place of bf16, against float32 of the same
numbers.
"""

import contextlib
import datetime
import hashlib
import json
import math
import os
import re
import struct
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench/peers"))
import sit_torch  # noqa: E402

DRAWS = 17
TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}


class Golden:
    """The tensors of a safetensors file by name, and its metadata.

    In draw 0 they are as they are; in others all numbers but times are off by up to a unit in the last place of bf16.
    """

    def __init__(self, path, draw=0):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
            data = file.read()
        self.metadata = header.pop("__metadata__", {})
        self.tensors = {}
        generator = torch.Generator().manual_seed(draw)
        for name, info in header.items():
            begin, end = info["data_offsets"]
            x = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[info["dtype"]]).reshape(info["shape"])
            if draw and x.is_floating_point() and name.split(".")[-1] not in ("t", "t_teacher"):
                x = x * (1 + 2**-8 * (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1))
            self.tensors[name] = x

    def __getitem__(self, name):
        return self.tensors[name]


class NormedAttention(sit_torch.Attention):
    """Attention with an affine norm of every head's queries and keys."""

    def __init__(self, hidden, heads):
        super().__init__(hidden, heads)
        self.q_norm = nn.LayerNorm(hidden // heads, eps=1e-5)
        self.k_norm = nn.LayerNorm(hidden // heads, eps=1e-5)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(y.transpose(1, 2).reshape(b, t, d))


def narrow(x):
    """x in bf16, and its gradient, too."""
    return x.bfloat16().float()


class NarrowBlock(sit_torch.Block):
    """A block whose residual stream is in bf16."""

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = narrow(x)
        x = narrow(x + gate1.unsqueeze(1) * self.attn(sit_torch.modulated_norm(x, shift1, scale1)))
        return narrow(x + gate2.unsqueeze(1) * self.mlp(sit_torch.modulated_norm(x, shift2, scale2)))


def build(cfg, narrow_stream):
    """The peer's model in the sizes of the goldens."""
    sit_torch.SIDE, sit_torch.PATCH = cfg["input_size"], cfg["patch_size"]
    sit_torch.CHANNELS, sit_torch.CLASSES = cfg["in_channels"], cfg["num_classes"]
    hidden, heads = cfg["hidden_size"], cfg["num_heads"]
    model = sit_torch.SiT(hidden, cfg["depth"], heads)
    if cfg.get("qk_norm"):
        for block in model.blocks:
            block.attn = NormedAttention(hidden, heads)
    if narrow_stream:
        for block in model.blocks:
            block.__class__ = NarrowBlock
    return model


class Linear:
    @staticmethod
    def at(t):
        """alpha, sigma and their derivatives."""
        return 1 - t, t, -1.0, 1.0


class Cosine:
    @staticmethod
    def at(t):
        a = math.pi / 2 * t
        cos, sin = (torch.cos(a), torch.sin(a)) if torch.is_tensor(a) else (math.cos(a), math.sin(a))
        return cos, sin, -math.pi / 2 * sin, math.pi / 2 * cos


PATHS = {"linear": Linear, "cosine": Cosine}
DISTANCES = {
    "sml1": lambda a, b: F.smooth_l1_loss(a, b, beta=0.05),
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "cos": lambda a, b: 1 - F.cosine_similarity(a, b, dim=1).mean(),
}


def norm(x):
    return x.double().norm().item()


class Run:
    """What a folder's files have, computed in one type from one draw: tensors by file and name."""

    def __init__(self, folder, draw, bf16=False, narrow_stream=False):
        self.folder, self.draw, self.bf16, self.narrow_stream = folder, draw, bf16, narrow_stream
        self.weights = self.read("weights.safetensors")
        self.cfg = json.loads(self.weights.metadata["cfg"])
        self.values = {}

    def read(self, file):
        return Golden(os.path.join(self.folder, file), self.draw)

    def autocast(self):
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def load(self, prefix):
        model = build(self.cfg, self.narrow_stream)
        state = {k[len(prefix) :]: v for k, v in self.weights.tensors.items() if k.startswith(prefix)}
        model.load_state_dict(state)
        return model

    def keep(self, tensor, value):
        self.values[self.file, tensor] = value.detach().double().clone()

    def run(self):
        for self.file in sorted(os.listdir(self.folder)):
            for kind in ("forward", "loss", "train3", "samples"):
                if self.file.startswith(kind):
                    getattr(self, kind)(self.read(self.file))
        return self.values

    def forward(self, g):
        model, seen = self.load("model."), {}
        watched = [("act.patch_embed", model.x_embedder), ("act.t_embed", model.t_embedder)]
        watched += [(f"act.block{i}", block) for i, block in enumerate(model.blocks, 1)]
        for name, module in watched:
            module.register_forward_hook(lambda _, __, y, name=name: seen.update({name: y}))
        with torch.no_grad(), self.autocast():
            seen["output"], tokens = model(g["x"], g["t"], g["y"], int(g.metadata["block"]))
            seen["projected"] = model.ap_head(tokens)
        for name, y in seen.items():
            self.keep(name, y)

    def step(self, student, teacher, g, prefix, layers, setup):
        """Losses of one batch; leaves gradients in the student."""
        path = PATHS[setup["path"]]
        t, t_teacher, labels = (g[prefix + name] for name in ("t", "t_teacher", "labels_dropped"))

        def noised(t):
            alpha, sigma, dalpha, dsigma = path.at(t[:, None, None, None])
            return alpha * g["x"] + sigma * g[prefix + "noise"], dalpha * g["x"] + dsigma * g[prefix + "noise"]

        (x_t, velocity), (x_teacher, _) = noised(t), noised(t_teacher)
        with self.autocast():
            with torch.no_grad():
                target = teacher.features(x_teacher, t_teacher, labels, layers[1])
            output, tokens = student(x_t, t, labels, layers[0])
            projected = student.ap_head(tokens)
        per_sample = (output.float() - velocity).square().mean(dim=(1, 2, 3))
        alignment = DISTANCES[setup["loss_type"]](projected.float(), target.float())
        total = per_sample.mean() + float(setup["lambda_align"]) * alignment
        total.backward()
        trained = {name: p.grad for name, p in student.named_parameters() if p.requires_grad}
        whole = math.sqrt(sum(norm(x) ** 2 for x in trained.values()))
        return dict(x_t=x_t, x_t_teacher=x_teacher, denoising_loss_per_sample=per_sample, align_loss_mean=alignment,
                    total_loss=total, grad_norm=torch.tensor([whole])), trained  # fmt: skip

    def loss(self, g):
        student, teacher = self.load("model."), self.load("ema.")
        layers = [int(g.metadata[k]) for k in ("student_block", "teacher_block")]
        values, gradients = self.step(student, teacher, g, "", layers, g.metadata)
        for name, value in values.items():
            self.keep(name, value)
        for name, x in gradients.items():
            self.keep("grad." + name, x)

    def train3(self, g):
        other = min(f for f in os.listdir(self.folder) if f.startswith("loss_"))
        metadata = self.read(other).metadata
        layers = [int(metadata[k]) for k in ("student_block", "teacher_block")]
        pattern = r"AdamW lr=(\S+) betas=\((\S+),(\S+)\) eps=(\S+) weight_decay=(\S+)"
        lr, beta1, beta2, eps, decay = map(float, re.fullmatch(pattern, g.metadata["optimizer"]).groups())
        student, teacher = self.load("model."), self.load("ema.")
        trained = [p for p in student.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
        for k in range(3):
            values, _ = self.step(student, teacher, g, f"step{k}.", layers, g.metadata)
            self.keep(f"step{k}.loss", values["total_loss"])
            self.keep(f"step{k}.grad_norm", values["grad_norm"])
            nn.utils.clip_grad_norm_(trained, float(g.metadata["clip"]))
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                ema = float(g.metadata["ema_decay"])
                for mean, p in zip(teacher.parameters(), student.parameters()):
                    mean.mul_(ema).add_(p, alpha=1 - ema)
        for prefix, model in (("model_after.", student), ("ema_after.", teacher)):
            for name, p in model.named_parameters():
                self.keep(prefix + name, p)

    def samples(self, g):
        model = self.load("model.")
        pattern = r"(ode_euler|ode_heun|sde_em)(\d+)(?:_cfg([\dp]+))?(?:_lo([\dp]+))?(?:_hi([\dp]+))?(_cosine)?"
        for name in g.tensors:
            match = re.fullmatch(pattern, name)
            if not match:
                continue
            method, steps, cosine = match[1], int(match[2]), match[6]
            given = zip(match.groups()[2:5], (1, 0, 1))
            w, low, high = (float(part.replace("p", ".")) if part else default for part, default in given)
            noise = g["sde_cosine_noise" if cosine else "sde_noise"]
            sampler = Sampler(self, model, g["y"], Cosine if cosine else Linear, (w, low, high))
            with torch.no_grad():
                x = g["z"].double()
                y = sampler.sde(x, steps, noise) if method == "sde_em" else sampler.ode(x, steps, method == "ode_heun")
                self.keep(name, y)


class Sampler:
    def __init__(self, run, model, labels, path, guidance):
        self.run, self.model, self.labels, self.path, self.guidance = run, model, labels, path, guidance

    def velocity(self, x, t, guided_at):
        w, low, high = self.guidance
        n, guided = len(x), w > 1 and low <= guided_at <= high
        labels = self.labels
        if guided:
            x, labels = torch.cat([x, x]), torch.cat([labels, torch.full_like(labels, sit_torch.CLASSES)])
        with self.run.autocast():
            v = self.model(x.float(), torch.full((len(x),), t), labels)[0].double()
        return v[n:] + w * (v[:n] - v[n:]) if guided else v

    def ode(self, x, steps, heun):
        times = torch.linspace(1, 0, steps + 1, dtype=torch.float64).tolist()
        for i, (now, then) in enumerate(zip(times, times[1:])):
            v = self.velocity(x, now, now)
            following = x + (then - now) * v
            if heun and i < steps - 1:
                v = (v + self.velocity(following, then, now)) / 2
            x = x + (then - now) * v
        return x

    def sde(self, x, steps, noise):
        times = torch.linspace(1, 0.04, steps, dtype=torch.float64).tolist() + [0.0]
        for i, (now, then) in enumerate(zip(times, times[1:])):
            v = self.velocity(x, now, now)
            alpha, sigma, dalpha, dsigma = self.path.at(now)
            ratio = alpha / dalpha
            drift = v - now * (ratio * v - x) / (sigma**2 - ratio * dsigma * sigma)
            x = x + (then - now) * drift
            if i < steps - 1:
                x = x + math.sqrt(2 * now) * math.sqrt(now - then) * noise[i]
        return x


def is_zero(tensor):
    """Gradients that are zero but for rounding."""
    return tensor.startswith("grad.") and tensor.endswith(("attn.k_norm.bias", "attn.qkv.bias (keys)"))


def parts(values, cfg):
    """Sets the keys' part of a gradient apart where it is zero, as parity does."""
    result = {}
    for (file, tensor), x in values.items():
        if tensor.startswith("grad.") and tensor.endswith("attn.qkv.bias") and not cfg.get("qk_norm"):
            q, k, v = x.chunk(3)
            result[file, tensor + " (keys)"], x = k, torch.cat([q, v])
        result[file, tensor] = x
    return result


def deviations(ours, theirs, cfg):
    """||a - b|| / ||b|| by file and tensor; of gradients that are zero: / ||the whole gradient||."""
    ours, theirs = parts(ours, cfg), parts(theirs, cfg)
    result = {}
    for (file, tensor), b in theirs.items():
        difference = norm(ours[file, tensor].reshape(b.shape) - b)
        by = (file, "grad_norm" if is_zero(tensor) else tensor)
        result[file, tensor] = difference / norm(theirs[by])
    return result


def limit(file, tensor):
    """What parity allows float32."""
    if file.startswith("samples"):
        return 1e-5
    if tensor.startswith("model_after"):
        return 8e-4 if tensor.endswith("k_norm.bias") else 1.7e-4
    if tensor.startswith("ema_after"):
        return 1.6e-5
    if "grad" in tensor:
        return 5.1e-6
    return 2.7e-6 if file.startswith("forward") else 1e-6


def check_float32(exact, golden, cfg):
    """The largest deviation of each file, with its tensor."""
    worst = {}
    for (file, tensor), x in deviations(exact, golden, cfg).items():
        if not x <= limit(file, tensor):
            most = limit(file, tensor)
            raise SystemExit(f"{file}: {tensor}: expected float32 to deviate by {most} at most, got {x:.3g}")
        worst[file] = max(worst.get(file, (0, "")), (x, tensor))
    return worst


def measure(folder):
    """Deviations of bf16 by file and tensor, with the stream in float32 and in bf16, and those of float32."""
    largest = {}
    for draw in range(DRAWS):
        run = Run(folder, draw)
        exact = run.run()
        if draw == 0:
            golden = {key: Golden(os.path.join(folder, key[0]))[key[1]].double() for key in exact}
            worst = check_float32(exact, golden, run.cfg)
            exact = golden
        for stream in range(2):
            bf16 = Run(folder, draw, bf16=True, narrow_stream=stream == 1).run()
            for key, deviation in deviations(bf16, exact, run.cfg).items():
                two = largest.setdefault(key, [0, 0])
                two[stream] = max(deviation, two[stream])
    return largest, worst


def report(folder):
    largest, worst = measure(folder)
    with open(os.path.join(folder, "weights.safetensors"), "rb") as file:
        print("# weights", hashlib.sha256(file.read()).hexdigest())
    today, isa = datetime.date.today(), torch.backends.cpu.get_cpu_capability()
    print(f"# PyTorch {torch.__version__} on a CPU with {isa}, {today}: tests/parity/torch_bf16.py")
    print("# ||a - b|| / ||b|| of the tensor; of gradients that are zero: / ||whole gradient||")
    print("# under autocast, and with the residual stream in bf16, too")
    for file, (x, tensor) in worst.items():
        print(f"\n# float32 deviates by up to {x:.2g}: {tensor}\n{file}")
        for (f, tensor), deviation in largest.items():
            if f == file:
                print("{:.2e} {:.2e}".format(*deviation), tensor)


def main():
    torch.set_num_threads(1)
    for folder in sys.argv[1:]:
        path = os.path.join(HERE, "bf16", os.path.basename(os.path.normpath(folder)) + ".txt")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as out, contextlib.redirect_stdout(out):
            report(folder)
        os.replace(path + ".new", path)


if __name__ == "__main__":
    main()
