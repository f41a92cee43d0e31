# What scripts/bench cpu prints: tables in Markdown and the summary in JSON.
# SPDX-License-Identifier: MIT

import datetime
import statistics
import subprocess
from collections import defaultdict

from processes import cpus

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
    """
    @param results  case -> (variants, FLOPs of our step)
    @param median, disturbed  of a variant's samples
    """

    def __init__(self, tools, ceilings, kernels, tuned, how, results, median, disturbed):
        self.tools, self.ceilings, self.kernels, self.tuned, self.how = tools, ceilings, kernels, tuned, how
        self.results, self.median, self.disturbed = results, median, disturbed

    def ceiling(self, name, threads):
        return self.ceilings[name][0 if threads == 1 else 1] if name in self.ceilings else None

    def fma(self, threads):
        return max(filter(None, (self.ceiling(f"fp32 FMA, {bits}-bit", threads) for bits in (256, 512))), default=None)

    def ran(self, case, ours):
        return [v for v in self.results[case][0] if v.ours == ours and v.samples and not v.failure]

    def fastest(self, case, ours):
        return min(self.ran(case, ours), key=lambda v: self.median(v.samples), default=None)

    def ratio(self, case):
        """PyTorch's best over ours in the same rounds."""
        theirs = self.fastest(case, ours=False)
        return self.median(theirs.samples) / theirs.ours_then if theirs and theirs.ours_then else None

    def memory_ratio(self, case):
        """Ours over the least of PyTorch's with the same type of numbers."""
        ours = self.fastest(case, ours=True)
        theirs = [v.peak for v in self.ran(case, ours=False) if v.type == case.type and v.peak]
        return ours.peak / min(theirs) if ours and theirs else None

    def step_fraction(self, case, threads, ceiling):
        ours = self.fastest(case, ours=True)
        if not ours or not ceiling:
            return None
        return self.results[case][1] / (self.median(ours.samples) * 1e-3) / (ceiling * 1e9)

    def summary(self, threads):
        cases = {case.name: case for case in self.results}
        numbers = {f"{name}_vs_torch": self.ratio(cases[name]) if name in cases else None for name in SUMMARY}
        bf16, fp32 = cases.get("s2_b8_bf16"), cases.get("s2_b8_fp32")
        amx, fma = self.ceiling("bf16 AMX", threads), self.fma(threads)
        numbers["step_fraction_of_amx_peak"] = bf16 and self.step_fraction(bf16, threads, amx)
        numbers["step_fraction_of_fma_peak_fp32"] = fp32 and self.step_fraction(fp32, threads, fma)
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

    def peak(self, type, threads):
        """Of the multiply-adds of a type: GFLOP/s."""
        halves = [self.ceiling(name, threads) for name in self.ceilings if name.startswith("bf16")]
        return max(filter(None, [self.fma(threads)] + (halves if type == "bf16" else [])), default=None)

    def kernels_table(self, type, threads):
        kernels = self.kernels[type]
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

    def row(self, case, v):
        if v.failure:
            return [v.name, v.threads, "failed: " + v.failure.replace("|", "/"), "", "", "", ""]
        ms, flops = self.median(v.samples), self.results[case][1] if case in self.results else 0
        speed = rounded(flops / ms / 1e6) if flops else ""
        mark = "~" if self.disturbed(v.samples) else ""
        own = statistics.median(own for _, _, own in v.samples)
        return [v.name, v.threads, f"{mark}{ms:,.0f}", f"{own:.2f}", speed, f"{v.peak / 1e6:,.0f}", f"{v.error:.2g}"]

    def case_tables(self):
        parts = []
        for case, (variants, _) in self.results.items():
            parts.append(f"### {case.title}\n\n" + self.variants_table(case, variants))
            theirs, ratio = self.fastest(case, ours=False), self.ratio(case)
            if theirs:
                best = f"PyTorch's best: {self.median(theirs.samples):,.0f} ms ({theirs.name}, {theirs.threads} threads)"
                parts.append(best + (f", **{ratio:.2f} times ours**.\n" if ratio else ".\n"))
        return "\n".join(parts)

    def variants_table(self, case, variants):
        head = ["variant", "threads", "ms", "processor s", "GFLOP/s of our count", "peak memory/MB", "error/allowed"]
        return table(head, [self.row(case, v) for v in variants])

    def markdown(self, threads, whole):
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

Ceilings: the best sample.  Times: medians; all processes of a table take turns and stand still while another one runs.  FLOPs are those of our step, the
teacher up to its block.  `~`: other programs used the machine in nearly all
samples, and processor seconds, in which waiting threads may count too, say more than milliseconds.  Error: of losses and gradient
norm (samples) from the same weights and draws, against our fp32 program, as a fraction of what is allowed.

## Ceilings

{self.ceilings_table()}
## Our kernels: S/2, batch 8, {threads} threads

The limit of a call is the slower of its multiply-adds at the peak of its type and its bytes at the bandwidth of the smallest
memory that holds them.

"""
        for type in self.kernels:
            text += f"### {type}\n\n" + self.kernels_table(type, threads) + "\n"
        if self.tuned:
            text += "\n## PyTorch's allocator and threads (S/2, batch 8, fp32, eager, fair teacher)\n\n"
            text += self.variants_table(None, self.tuned) + f"\nUsed below: {self.how}.\n\n## PyTorch and ours\n\n"
        return text + self.case_tables()
