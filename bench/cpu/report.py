# What scripts/bench cpu prints: tables in Markdown and the summary in JSON.
# SPDX-License-Identifier: MIT

import datetime
import statistics
import subprocess
from collections import defaultdict

from processes import cpus

SLOW = 1.2  # PyTorch's variants slower than this times its fastest are only screened
SUMMARY = ["s2_b8_bf16", "s2_b8_fp32", "s2_b8_avx2", "s2_b32_bf16", "b2_b8_bf16", "sample_s2_bf16"]


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def rounded(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


class Page:
    """Everything that was measured, as tables; the driver fills it."""

    def __init__(self, tools, threads):
        self.tools, self.threads = tools, threads
        self.ceilings, self.sizes, self.kernels, self.levels = {}, {}, {}, {}
        self.tuned, self.how = [], ""
        self.results = {}  # case -> (variants, FLOPs of our step)

    def ceiling(self, name, threads):
        return self.ceilings[name][0 if threads == 1 else 1] if name in self.ceilings else None

    def fma(self, threads, isa="best"):
        widths = (256,) if isa == "avx2" else (256, 512)
        return max(filter(None, (self.ceiling(f"fp32 FMA, {bits}-bit", threads) for bits in widths)), default=None)

    def ran(self, case, ours):
        return [v for v in self.results[case][0] if v.ours == ours and v.ms and not v.failure]

    def fastest(self, case, ours):
        """Of those that took part in the rounds; what was screened out is slower."""
        ran = self.ran(case, ours)
        return min([v for v in ran if v.rounds] or ran, key=lambda v: v.ms, default=None)

    def ratio(self, case):
        """PyTorch's best over ours in the same rounds."""
        theirs = self.fastest(case, ours=False)
        return theirs.ms / theirs.ours_ms if theirs and theirs.ours_ms else None

    def memory_ratio(self, case):
        """Ours over the least of PyTorch's with the same type of numbers."""
        ours = self.fastest(case, ours=True)
        theirs = [v.peak for v in self.ran(case, ours=False) if v.type == case.type and v.peak]
        return ours.peak / min(theirs) if ours and theirs else None

    def step_fraction(self, case, v, ceiling):
        """Of a peak in GFLOP/s that our step's FLOPs are, in the time of a variant."""
        flops = self.results[case][1] if case in self.results else 0
        return flops / (v.ms * 1e-3) / (ceiling * 1e9) if v and v.ms and flops and ceiling else None

    def summary(self):
        cases = {case.name: case for case in self.results}
        numbers = {f"{name}_vs_torch": self.ratio(cases[name]) if name in cases else None for name in SUMMARY}
        bf16, fp32 = cases.get("s2_b8_bf16"), cases.get("s2_b8_fp32")
        for key, case, ceiling in (("step_fraction_of_amx_peak", bf16, self.ceiling("bf16 AMX", self.threads)),
                                   ("step_fraction_of_fma_peak_fp32", fp32, self.fma(self.threads))):
            numbers[key] = case and self.step_fraction(case, self.fastest(case, ours=True), ceiling)
        numbers["peak_memory_vs_torch"] = next(
            (r for r in (case and self.memory_ratio(case) for case in (bf16, fp32)) if r), None)
        return {name: x and float(f"{x:.4g}") for name, x in numbers.items()}

    def ceilings_table(self):
        rows = []
        for name, (one, all_) in ((k, v) for k, v in self.ceilings.items() if k != "threads"):
            unit = "GFLOP/s" if "-bit" in name or "AMX" in name else "GB/s, triad a thread"
            rows.append([name, unit, rounded(one), rounded(all_)])
        if "bf16 AMX" not in self.ceilings:
            rows.append(["bf16 AMX", "GFLOP/s", "none", "none"])
        return table(["what", "unit", "1 thread", f"{self.ceilings['threads']} threads"], rows)

    def bandwidth(self, bytes_, threads):
        """Of the smallest memory that holds a thread's part of what one call moves."""
        part = bytes_ / threads
        for name, size in (("16 KB", 16 << 10), ("512 KB", 512 << 10), ("8 MB", 8 << 20)):
            if part <= size:
                return self.ceiling(name, threads)
        return self.ceiling("DRAM", threads)

    def peak(self, type, threads, isa="best"):
        """Of the multiply-adds of a type: GFLOP/s.  bf16: of AMX where there is one, else of the dot product."""
        halves = [self.ceiling(name, threads) for name in self.ceilings if name.startswith("bf16")]
        wide = type == "fp32" or isa == "avx2"
        return max(filter(None, [self.fma(threads, isa)] + ([] if wide else halves)), default=None)

    def attention_table(self, type):
        """Beside the peak, the limit of attention: its multiply-adds and its 2^x one after the other, or its bytes."""
        rows = defaultdict(dict)
        for k in self.sizes["kernels"]:
            if (k["group"], k["type"]) != ("attention", type):
                continue
            arithmetic = k["flops"] / self.peak(type, self.threads) / 1e6
            exponentials = k["exponentials"] / self.sizes["exponentials"] / 1e6
            limit = max(arithmetic + exponentials, k["bytes"] / self.bandwidth(k["bytes"], self.threads) / 1e6)
            rows[k["size"]][k["kernel"]] = [f"{k['ms']:.2f}", f"{arithmetic / k['ms']:.0%}", f"{limit / k['ms']:.0%}"]
        head = ["2,048 tokens, 6 heads"]
        for kernel in ("forward", "backward"):
            head += [f"{kernel}, ms", "of the peak", "of its limit"]
        return table(head, [[size, *kernels["attention_forward"], *kernels["attention_backward"]]
                            for size, kernels in rows.items()])

    def linear_table(self, type):
        """Fractions of the peak; in the last row their harmonic means."""
        names = ["linear_forward", "linear_backward_input", "linear_backward_weight"]
        rows, fractions = defaultdict(dict), defaultdict(list)
        for k in self.sizes["kernels"]:
            if (k["group"], k["type"]) == ("linear", type):
                fraction = k["flops"] / self.peak(type, self.threads) / 1e6 / k["ms"]
                rows[k["size"]][k["kernel"]] = f"{k['ms']:.2f} ms, {fraction:.0%}"
                fractions[k["kernel"]].append(fraction)
        body = [[size, *(kernels[name] for name in names)] for size, kernels in rows.items()]
        means = [f"**{statistics.harmonic_mean(fractions[name]):.0%}**" for name in names]
        return table(["2,048 rows", "forward", "input gradient", "weight gradient"], [*body, ["harmonic mean", *means]])

    def kernels_table(self, type):
        kernels, threads = self.kernels[type], self.threads
        sums = defaultdict(lambda: [0.0] * 6)  # calls, ms, GFLOP, GB, ms of the limit, of that by arithmetic
        for k in kernels["kernels"]:
            arithmetic = k["flops"] / self.peak(type, threads) / 1e6
            limit = max(arithmetic, k["bytes"] / self.bandwidth(k["bytes"], threads) / 1e6)
            calls = k["calls"]
            for i, x in enumerate((calls, k["ms"], calls * k["flops"] / 1e9, calls * k["bytes"] / 1e9, calls * limit,
                                   calls * limit * (limit == arithmetic))):
                sums[k["name"]][i] += x
        rows, outside, limits = [], kernels["ms"], 0.0
        for name, (calls, ms, gflop, gb, limit, arithmetic) in sorted(sums.items(), key=lambda x: -x[1][1]):
            by_arithmetic = arithmetic > limit / 2
            speed = f"{rounded(gflop / ms * 1e3)} GFLOP/s" if by_arithmetic else f"{rounded(gb / ms * 1e3)} GB/s"
            rows.append([name, f"{calls:g}", f"{ms:.2f}", speed, "multiply-adds" if by_arithmetic else "memory",
                         f"{limit / ms:.0%}"])
            outside -= ms
            limits += limit
        rows.append(["between kernels", "", f"{outside:.2f}", "", "", ""])
        rows.append(["**step**", "", f"{kernels['ms']:.2f}", "", "", f"{limits / kernels['ms']:.0%}"])
        return table(["kernel", "calls", "ms a step", "speed", "limit", "of its limit"], rows)

    def levels_table(self):
        kept, bytes_ = self.levels["none"]
        return table(["recompute", "ms a step", "times none", "peak memory/MB", "times none"],
                     [[name, rounded(ms), f"{ms / kept:.2f}", rounded(peak / 1e6), f"{peak / bytes_:.2f}"]
                      for name, (ms, peak) in self.levels.items()])

    def row(self, case, v):
        if v.failure:
            return [v.name, v.threads, v.failure.replace("|", "/"), "", "", "", "", "", ""]
        flops = self.results[case][1] if case in self.results else 0
        speed = rounded(flops / v.ms / 1e6) if flops else ""
        fraction = self.step_fraction(case, v, case and self.peak(v.type, v.threads, case.isa))
        ms = f"{'~' if v.disturbed else ''}{v.ms:,.0f}"
        return [v.name, v.threads, ms, v.rounds or "screened", f"{v.seconds:.2f}", speed, f"{fraction:.0%}" if fraction else "", f"{v.peak / 1e6:,.0f}", f"{v.error:.2g}"]

    def case_tables(self):
        parts = []
        for case, (variants, _) in self.results.items():
            parts.append(f"### {case.title}\n\n" + self.variants_table(case, variants))
            theirs, ratio = self.fastest(case, ours=False), self.ratio(case)
            if theirs:
                beside = f", ours in the same rounds {theirs.ours_ms:,.0f} ms: **{ratio:.2f} times ours**" if ratio else ""
                parts.append(f"PyTorch's best: {theirs.ms:,.0f} ms ({theirs.name}, {theirs.threads} threads){beside}.\n")
        return "\n".join(parts)

    def variants_table(self, case, variants):
        head = ["variant", "threads", "ms", "rounds", "processor s", "GFLOP/s of our count", "of the peak",
                "peak memory/MB", "error/allowed"]
        return table(head, [self.row(case, v) for v in variants])

    def markdown(self, whole):
        commit = output("git", "rev-parse", "--short", "HEAD")
        if output("git", "status", "--porcelain", "include", "bench") not in ("", "unknown"):
            commit += " and changes"
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "CPU")
        # Of PyTorch's output only the last line is asked for: it may warn.
        torch = output(self.tools.python, "-c", "import torch; print(torch.__version__, 'oneDNN', "
                       "torch.backends.mkldnn.is_available(), torch.backends.cpu.get_cpu_capability())").split("\n")[-1]
        text = f"""# Whole steps and samplings on a CPU

`scripts/bench cpu`{'' if whole else ', not all of it'}, {datetime.date.today()}, commit {commit}, {cpu}, {len(cpus())} processors,
{output('c++', '--version').splitlines()[0]}, Python {output(self.tools.python, '-V').split()[-1]}, PyTorch {torch}.

Ceilings: the best sample.  Times: medians; all processes of a table take turns and stand still while another one
runs.  Screened: one sample, of ours on one thread or of a variant that took more than {SLOW} times PyTorch's fastest;
the others took part in all rounds with ours, and all medians are over the same rounds.  FLOPs are those of our step,
the teacher up to its block; the peak is that of multiply-adds in the variant's type.  `~`: other programs used the
machine in nearly all samples, and processor seconds, in which waiting threads may count too, say more than
milliseconds.  Error: of losses and gradient norm (samples) from the same weights and draws, against our fp32 program,
as a fraction of what is allowed.

## Ceilings

{self.ceilings_table()}
## Our kernels: S/2, batch 8, {self.threads} threads

The limit of a call is the slower of its multiply-adds at the peak of its type and its bytes at the bandwidth of the smallest
memory that holds them.

"""
        for type in self.kernels:
            text += f"### {type}\n\n" + self.kernels_table(type) + "\n"
        text += f"""
## Attention, {self.threads} threads

The limit is the slower of the bytes, as above, and of multiply-adds at the peak followed by one 2^x for every score,
of which all threads compute {self.sizes["exponentials"]:.2g} billion a second.

"""
        for type in self.kernels:
            text += f"### {type}\n\n" + self.attention_table(type) + "\n"
        text += f"\n## Linear layers, {self.threads} threads\n\n"
        text += "Milliseconds, and multiply-adds as a fraction of the peak.\n\n"
        for type in self.kernels:
            text += f"### {type}\n\n" + self.linear_table(type) + "\n"
        text += f"\n## Recompute levels: S/2, batch 8, bf16, {self.threads} threads\n\n"
        text += "What backward computes again instead of keeping it.  By turns.\n\n" + self.levels_table()
        if self.tuned:
            text += "\n## PyTorch's allocator and threads (S/2, batch 8, fp32, eager, fair teacher)\n\n"
            text += self.variants_table(None, self.tuned) + f"\nUsed below: {self.how}.\n\n## PyTorch and ours\n\n"
        return text + self.case_tables()
