# Ceilings, our kernels, and whole steps and samplings beside PyTorch's; see scripts/bench cpu.
# SPDX-License-Identifier: MIT

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from types import SimpleNamespace

import report
from picture import picture
from processes import Failed, Process, available_bytes, cpus
from variants import CASES, our_variants, torch_variant, torch_variants, tunings

START_LIMIT = 900  # seconds; compilation is part of it
QUIET = 0.03  # a sample counts as undisturbed when others took less than this share of the machine
# Relative errors.  fp32: rounding of sums in another order.  bf16: its unit roundoff, 2^-8, for means of many
# independent roundings, twice that for the norm.
ALLOWED = {"fp32": (1e-5, 1e-5, 1e-4), "bf16": (2**-8, 2**-8, 2**-7)}
ALLOWED_SAMPLE = {"fp32": 1e-4, "bf16": 2**-4}  # 50 steps, each with guidance


class Differ(Exception):
    pass


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def median(samples):
    """Of the undisturbed samples, if there are three; else of all."""
    quiet = [ms for ms, others, _ in samples if others < QUIET]
    return statistics.median(quiet if len(quiet) >= 3 else [ms for ms, _, _ in samples])


def disturbed(samples):
    return sum(others < QUIET for _, others, _ in samples) < 3


class Comparison:
    """The processes of one case, started as memory allows, and measured in turns."""

    def __init__(self, tools, case, rounds):
        self.tools, self.case, self.rounds = tools, case, rounds
        self.best = float("inf")  # median of PyTorch's fastest variant so far
        self.reference = None
        self.folder = os.path.join(tools.work, "check")

    def start(self, variant):
        log = os.path.join(self.tools.work, "stderr.log")
        variant.process = Process(variant.command, variant.env, log, START_LIMIT, pin=variant.ours)

    def fail(self, variant, error):
        variant.failure = str(error)
        say(f"  {variant.name}, {variant.threads} threads: failed: {error}")
        if variant.process:
            variant.process.kill()
            variant.process = None

    def write_reference(self):
        """Weights, one batch, and what our fp32 program computes from them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        writer = our_variants(self.tools, self.case, cpus()[:1])[0]
        command = [("fp32" if part == "bf16" else part) for part in writer.command]
        command[command.index("--threads") + 1] = str(len(cpus()))
        process = Process(command, writer.env, os.path.join(self.tools.work, "stderr.log"), START_LIMIT, pin=True)
        try:
            process.ask("write " + self.folder)
            self.reference = self.numbers(process)
            if self.case.mode == "step":
                self.flops = float(process.ask("flops"))
        finally:
            process.kill()

    def numbers(self, process):
        return [float(x) for x in process.ask("loss " + self.folder, START_LIMIT).split()]

    def check(self, variant):
        """Puts the reference's weights into a process and holds its numbers against ours."""
        theirs = self.numbers(variant.process)
        allowed = ALLOWED[variant.type] if self.case.mode == "step" else (ALLOWED_SAMPLE[variant.type],) * 3
        errors = [abs(x - y) / (abs(y) * a) for x, y, a in zip(theirs, self.reference, allowed, strict=True)]
        variant.error = max(errors)
        if not variant.error <= 1:
            raise Differ(f"{self.case.name}: {variant.name}: expected {self.reference}, got {theirs}: "
                         f"{variant.error:.3g} of the allowed error")

    def measure(self, group):
        """Rounds over a group; PyTorch's slow variants leave after three."""
        ours = [v for v in group if v.ours]
        before = {id(v): len(v.samples) for v in ours}
        for r in range(self.rounds):
            for v in group:
                if v.failure or (not v.ours and r >= 3 and median(v.samples) > 1.25 * self.best):
                    continue
                try:
                    v.samples.append(v.process.timed(self.case.mode))
                except Failed as error:
                    self.fail(v, error)
            times = [median(v.samples) for v in group if not v.ours and v.samples and not v.failure]
            self.best = min([self.best, *times])
        fastest = min((median(v.samples[before[id(v)]:]) for v in ours if not v.failure), default=0.0)
        for v in group:
            v.ours_then = fastest
            if v.process and not v.failure:
                v.peak = float(v.process.ask("peak"))
            if v.process and not v.ours:
                v.process.kill()
                v.process = None

    def run(self, variants):
        self.write_reference()
        ours, group, largest = [], [], 0
        for v in variants:
            if group and available_bytes() < 2 * largest:
                self.measure(ours + group)
                group = []
            say(f"  {v.name}, {v.threads} threads")
            memory = available_bytes()
            try:
                self.start(v)
                self.check(v)
                v.process.ask("reset")
                v.process.timed(self.case.mode)  # the first step with these weights
            except Failed as error:
                self.fail(v, error)
                continue
            largest = max(largest, memory - available_bytes())
            (ours if v.ours else group).append(v)
        self.measure(ours + group)
        for v in ours:
            if v.process:
                v.process.kill()
        shutil.rmtree(self.folder)
        return variants


def tune(tools, rounds, threads):
    """The best allocator and thread pool for PyTorch, by an eager step."""
    case = CASES[0]
    say("PyTorch's allocator and threads")
    variants = [torch_variant(tools, case, "fp32", "fair", "no", threads[0], env, name)
                for name, env in tunings(tools.python).items()]
    Comparison(tools, case, rounds).run(variants)
    good = [v for v in variants if not v.failure]
    if not good:
        raise SystemExit("compare: expected a PyTorch that runs: " + variants[0].failure)
    best = min(good, key=lambda v: median(v.samples))
    return variants, best.name, tunings(tools.python)[best.name]


def profile(tools, type, threads, steps):
    command = [tools.sra_step, "--model", "s2", "--batch", "8", "--type", type, "--threads", str(threads)]
    process = Process(command, {}, os.path.join(tools.work, "stderr.log"), START_LIMIT, pin=True)
    try:
        return json.loads(process.ask(f"profile {steps}"))
    finally:
        process.kill()


def save(page, target, threads, whole):
    text = page.markdown(threads, whole)
    with open(target, "w") as file:
        file.write(text)
    with open(target.replace(".md", ".svg"), "w") as file:
        file.write(picture(page.kernels, f"A step of SiT-S/2 with SRA, batch 8, {threads} threads"))
    return text


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench cpu")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--case", nargs="+", choices=[c.name for c in CASES], metavar="CASE",
                        help="only these, of: " + ", ".join(c.name for c in CASES))
    parser.add_argument("--no-torch", action="store_true", help="ceilings and our kernels only")
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--python", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_options()
    here = os.path.dirname(os.path.abspath(__file__))
    tools = SimpleNamespace(
        work=os.path.abspath(os.path.join(options.build, "compare")), python=os.path.abspath(options.python),
        peer=os.path.join(here, "../peers/sit_torch.py"), sra_step=os.path.abspath(f"{options.build}/bench/sra_step"))
    os.makedirs(tools.work, exist_ok=True)
    threads = [len(cpus()), 1] if len(cpus()) > 1 else [1]
    rounds = 3 if options.quick else 11
    say("ceilings")
    ceilings = json.loads(subprocess.run([f"{options.build}/bench/ceilings", "5" if options.quick else "15"], check=True,
                                         capture_output=True, text=True).stdout)
    say("our kernels")
    kernels = {type: profile(tools, type, threads[0], 2 if options.quick else 5) for type in ("fp32", "bf16")}
    results, tuned, how, environment = {}, [], "", {}

    def page():
        return report.Page(tools, ceilings, kernels, tuned, how, results, median, disturbed)

    if not options.no_torch:
        tuned, how, environment = tune(tools, 3, threads)
    for case in CASES if not options.no_torch else []:
        if options.case and case.name not in options.case:
            continue
        say(case.title)
        comparison = Comparison(tools, case, rounds)
        variants = our_variants(tools, case, threads) + torch_variants(tools, case, environment, threads)
        results[case] = (comparison.run(variants), getattr(comparison, "flops", 0.0))
        save(page(), os.path.join(options.build, "cpu.md"), threads[0], False)  # what follows may fail
    whole = not (options.quick or options.case or options.no_torch)
    target = os.path.join(here, "../results/cpu.md") if whole else os.path.join(options.build, "cpu.md")
    print(save(page(), target, threads[0], whole))
    print(json.dumps(page().summary(threads[0])))


if __name__ == "__main__":
    try:
        main()
    except Differ as error:
        raise SystemExit(f"compare: the two sides differ: {error}") from None
    except Failed as error:
        raise SystemExit(f"compare: our program failed: {error}") from None
