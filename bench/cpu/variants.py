# What is compared: the cases, and every way in which PyTorch may run one of them.
# SPDX-License-Identifier: MIT

import glob
import os
import statistics
from dataclasses import dataclass, field

from processes import cpus


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    model: str
    batch: int
    type: str
    mode: str = "step"
    isa: str = "best"
    thorough: bool = False  # also what competes for nothing: one thread, and the teacher as released


CASES = [  # PyTorch's allocator and threads are chosen by the first
    Case("s2_b8_fp32", "S/2, batch 8, fp32", "s2", 8, "fp32", thorough=True),
    Case("s2_b8_bf16", "S/2, batch 8, bf16", "s2", 8, "bf16", thorough=True),
    Case("sample_s2_bf16", "S/2, 4 images, 50 guided Euler steps, bf16", "s2", 4, "bf16", "sample"),
    Case("b2_b8_bf16", "B/2, batch 8, bf16", "b2", 8, "bf16"),
    Case("s2_b32_bf16", "S/2, batch 32, bf16", "s2", 32, "bf16"),
    Case("s2_b8_avx2", "S/2, batch 8, fp32, AVX2 on both sides", "s2", 8, "fp32", isa="avx2"),
]


@dataclass
class Variant:
    """One process and what was seen of it."""

    name: str
    ours: bool
    command: list
    env: dict
    type: str
    threads: int
    eager: object = None  # the variant whose time says whether this one is worth compiling
    process: object = None
    samples: list = field(default_factory=list)  # of Process.timed
    rounds: int = 0  # in which it took part; 0: it was screened only
    ms: float = 0.0
    seconds: float = 0.0  # of processors
    disturbed: bool = False
    ours_ms: float = 0.0  # ours in the same rounds
    peak: float = 0.0
    error: float = 0.0  # of the check, as a fraction of what is allowed
    failure: str = ""

    def settle(self, rounds, disturbed):
        """Takes the medians over some of the samples."""
        self.ms = statistics.median(self.samples[r][0] for r in rounds)
        self.seconds = statistics.median(self.samples[r][2] for r in rounds)
        self.disturbed = disturbed


def first(pattern):
    return next(iter(sorted(glob.glob(pattern))), "")


def tunings(python):
    """Allocators and thread pools, as PyTorch's performance guide advises them; those that are installed."""
    gomp = {"GOMP_CPU_AFFINITY": " ".join(map(str, cpus()))}
    iomp = {"KMP_AFFINITY": "granularity=fine,compact,1,0", "KMP_BLOCKTIME": "1"}
    iomp_library = first(os.path.join(os.path.dirname(python), "../lib/libiomp5.so"))
    allocators = {"malloc": ("", {})}
    if library := first("/usr/lib/*/libtcmalloc_minimal.so.4"):
        allocators["tcmalloc"] = (library, {})
    if library := first("/usr/lib/*/libjemalloc.so.2"):
        settings = "oversize_threshold:1,background_thread:true,metadata_thp:auto,dirty_decay_ms:-1,muzzy_decay_ms:-1"
        allocators["jemalloc"] = (library, {"MALLOC_CONF": settings})
    found = {}
    for name, (library, settings) in allocators.items():
        found[f"libgomp, {name}"] = {**gomp, **settings, **({"LD_PRELOAD": library} if library else {})}
        if iomp_library:
            preload = ":".join(filter(None, [os.path.abspath(iomp_library), library]))
            found[f"libiomp5, {name}"] = {**iomp, **settings, "LD_PRELOAD": preload}
    return found


def torch_variant(tools, case, type, teacher, compile, threads, tuning, name=""):
    command = [tools.python, tools.peer, "--model", case.model, "--batch", str(case.batch), "--precision", type]
    command += ["--teacher", teacher, "--compile", compile, "--threads", str(threads), "--mode", case.mode]
    env = {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_COMPILE_THREADS": "1",
           "TORCHINDUCTOR_CACHE_DIR": os.path.join(tools.work, f"inductor-{case.isa}"), **tuning}
    if threads == 1:
        env.pop("KMP_AFFINITY", None)
        if "GOMP_CPU_AFFINITY" in env:
            env["GOMP_CPU_AFFINITY"] = str(cpus()[0])
    if case.isa == "avx2":
        command += ["--isa", "avx2"]
        env |= {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    how = "eager" if compile == "no" else "compile" if compile == "default" else "compile max-autotune"
    what = [f"PyTorch {type}", how] + ([f"{teacher} teacher"] if case.mode == "step" else [])
    return Variant(name or ", ".join(what), False, command, env, type, threads)


def torch_variants(tools, case, tuning, threads):
    """All of them, those that are likely to be fast first."""

    def variants(teacher, compiles, n, type=case.type):
        return [torch_variant(tools, case, type, teacher, compile, n, tuning) for compile in compiles]

    list_ = variants("fair", ("no", "default", "max-autotune"), threads[0])
    if case.thorough:
        list_ += variants("full", ("no", "default"), threads[0])
        for n in threads[1:]:
            list_ += variants("fair", ("no", "default"), n)
    if case.type == "bf16":  # PyTorch's best may be fp32
        list_ += variants("fair", ("no", "default"), threads[0], "fp32")
        list_[-1].eager = list_[-2]
    return list_


def our_variants(tools, case, threads):
    env = {"SRA_ISA": "avx2"} if case.isa == "avx2" else {}
    return [
        Variant(f"sra {case.type}", True,
                [tools.sra_step, "--model", case.model, "--batch", str(case.batch), "--type", case.type, "--mode",
                 case.mode, "--threads", str(n)], env, case.type, n)
        for n in (threads if case.thorough else threads[:1])
    ]
