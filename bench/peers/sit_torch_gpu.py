# PyTorch's side on a GPU: training steps of SiT with SRA, one variant a process, one row of a table.
# SPDX-License-Identifier: MIT
"""
bf16 by autocast, fused AdamW, scaled_dot_product_attention; the block is compiled, not the model, which would take minutes.
With --graph a whole step is one CUDA graph.  Prints the row that bench/cuda/step.cuh prints for ours.
"""

import argparse
import statistics
import sys
import time

import sit_torch
import torch
from sit_torch import CLASSES, CLIP, DROPOUT, EMA, T_MAX, WEIGHT, Training, nn

sit_torch.SIZES["xl2"] = dict(hidden=1152, depth=28, heads=16)
LAYERS = {12: (3, 8), 28: (8, 20)}  # of student and teacher, as published for a depth
NAMES = {"s2": "S/2", "b2": "B/2", "xl2": "XL/2"}


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=sorted(NAMES), default="s2")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--teacher", choices=["fair", "full"], default="fair")
    parser.add_argument("--compile", choices=["no", "default", "max-autotune"], default="default")
    parser.add_argument("--attention", choices=["any", "flash", "cudnn", "efficient"], default="any")
    parser.add_argument("--graph", action="store_true", help="capture a whole step")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--ceiling", type=float, default=0, help="TFLOP/s of a product, for the part of it")
    return parser.parse_args()


def step_flops(hidden, depth, teacher_layer, batch, tokens=256):
    """Of a step whose teacher stops at its block: sra::step_flops, include/sra/models/config.hpp."""
    attention = batch * 4 * tokens * tokens * hidden
    block = batch * (tokens * (24 * hidden**2 + 4 * tokens * hidden) + 12 * hidden**2)
    student = depth * (3 * (block - attention) + 3.5 * attention)
    return student + teacher_layer * block + 3 * 8 * batch * tokens * hidden**2


class GpuTraining(Training):
    def __init__(self, options):
        size = sit_torch.SIZES[options.model]
        sit_torch.STUDENT_LAYER, sit_torch.TEACHER_LAYER = LAYERS[size["depth"]]
        cpu_options = argparse.Namespace(model=options.model, batch=options.batch, teacher=options.teacher, compile="no",
                                         precision="bf16", threads=4, isa="best")
        super().__init__(cpu_options)
        torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float
        self.make_nontrivial()
        self.optimizer = torch.optim.AdamW(self.parameters, lr=sit_torch.LR, betas=(0.9, 0.999), weight_decay=0,
                                           fused=True, capturable=options.graph)
        if options.compile != "no":
            mode = None if options.compile == "default" else "max-autotune-no-cudagraphs"
            for limit in ("recompile_limit", "cache_size_limit"):  # where every block counts as a new function
                if hasattr(torch._dynamo.config, limit):
                    setattr(torch._dynamo.config, limit, 256)
            for block in [*self.model.blocks, *self.ema.blocks]:
                block.compile(mode=mode, dynamic=False)
        self.graph, self.captured = options.graph, None

    def make_nontrivial(self):
        """As our side does: gates that are zero would make most gradients zero."""
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if p.requires_grad:
                    p.add_(torch.randn_like(p), alpha=0.3 if name.endswith("adaLN_modulation.1.bias") else 0.02)
            for mean, p in zip(self.ema.parameters(), self.model.parameters()):
                mean.copy_(p)

    def update(self):
        """A step, without waiting for it.  @return its loss"""
        b = len(self.labels)
        noise, t = torch.randn_like(self.x), torch.rand(b)
        t_teacher = (t - T_MAX * torch.rand(b)).clamp(0, 1)
        y = torch.where(torch.rand(b) < DROPOUT, CLASSES, self.labels)
        with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=not self.graph):
            with torch.no_grad():
                target = self.teacher(self.x, noise, t_teacher, y)
            denoising, alignment = self.student(self.x, noise, t, y, target)
        loss = denoising + WEIGHT * alignment
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.live, 1 - EMA)
        return loss.detach()

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.update()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.captured):
            self.loss = self.update()

    def step(self):
        start = time.perf_counter()
        if self.captured:
            self.captured.replay()
            loss = self.loss
        else:
            loss = self.update()
        self.last = loss.item()
        return (time.perf_counter() - start) * 1e3


def measure(options):
    peer = GpuTraining(options)
    if options.graph:
        peer.capture()
    for _ in range(3):
        peer.step()
    begin = time.perf_counter()
    while time.perf_counter() - begin < 2:  # under load clocks fall
        peer.step()
    torch.cuda.reset_peak_memory_stats()
    ms = statistics.median(peer.step() for _ in range(options.steps))
    size = sit_torch.SIZES[options.model]
    speed = step_flops(size["hidden"], size["depth"], sit_torch.TEACHER_LAYER, options.batch) / ms / 1e9
    mode = "eager" if options.compile == "no" else f"compiled {options.compile}"
    words = ["torch", mode, f"attention {options.attention}" if options.attention != "any" else "",
             "graph" if options.graph else "", options.teacher]
    of_ceiling = f"{100 * speed / options.ceiling:.0f} %" if options.ceiling else "-"
    row = [NAMES[options.model], options.batch, " ".join(filter(None, words)), f"{ms:.2f}",
           f"{1e3 * options.batch / ms:.1f}", f"{speed:.1f}", of_ceiling,
           f"{torch.cuda.max_memory_reserved() / 2**30:.1f}", "-", f"{peer.last:.4f}"]
    print("| " + " | ".join(map(str, row)) + " |", flush=True)


def main():
    options = parse_options()
    if not torch.cuda.is_available():
        print("sit_torch_gpu: skipped: no device", file=sys.stderr)
        return 77
    print(f"sit_torch_gpu: torch {torch.__version__}, {vars(options)}", file=sys.stderr)
    torch.set_default_device("cuda")
    if options.attention == "any":
        measure(options)
        return 0
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
               "efficient": SDPBackend.EFFICIENT_ATTENTION}[options.attention]
    with sdpa_kernel(backend):
        measure(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
