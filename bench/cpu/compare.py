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
from report import SLOW
from variants import CASES, our_variants, torch_variant, torch_variants, tunings

START_LIMIT = 900  # seconds; compilation is part of it
QUIET = 0.03  # a sample counts as undisturbed when others took less than this share of the machine
HOPELESS = 1.5  # a variant is not even compiled when its eager form takes more than this times PyTorch's fastest
ROUNDS, ROUNDS_LIMIT = (4, 11), 120  # at least and at most; as many as these seconds allow
# Relative errors.  fp32: rounding of sums in another order.  bf16: its unit roundoff, 2^-8, for means of many
# independent roundings, twice that for the norm.
ALLOWED = {"fp32": (1e-5, 1e-5, 1e-4), "bf16": (2**-8, 2**-8, 2**-7)}
ALLOWED_SAMPLE = {"fp32": 1e-4, "bf16": 2**-4}  # 50 steps, each with guidance


class Differ(Exception):
    pass


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Comparison:
    """
    The processes of one case, measured in turns.  All are started one after the other and each is screened by one
    sample.  PyTorch's that are slow compared with its fastest leave, ours on one thread too; the others and ours on all
    threads take part in every round.
    """

    def __init__(self, tools, case, rounds):
        self.tools, self.case, self.rounds = tools, case, rounds
        self.fastest = float("inf")  # milliseconds of PyTorch's fastest variant when it was screened
        self.reference = None
        self.folder = os.path.join(tools.work, "check")

    def start(self, variant):
        log = os.path.join(self.tools.work, "stderr.log")
        variant.process = Process(variant.command, variant.env, log, START_LIMIT, pin=variant.ours)

    def fail(self, variant, error):
        variant.failure = f"failed: {error}"
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

    def turn(self, group):
        """One sample of each."""
        for v in group:
            try:
                v.samples.append(v.process.timed(self.case.mode))
            except Failed as error:
                self.fail(v, error)

    def screen(self, v):
        """One sample of a variant; again if others disturbed it, or if a first one just misses the fastest."""
        for _ in range(3):
            self.turn([v])
            if v.failure:
                return
            near = SLOW * self.fastest < v.samples[-1][0] < HOPELESS * self.fastest
            if v.samples[-1][1] < QUIET and not (near and len(v.samples) == 1):
                break
        best = min(range(len(v.samples)), key=lambda i: v.samples[i][0])
        v.settle([best], disturbed=v.samples[best][1] >= QUIET)
        if not v.ours:
            self.fastest = min(self.fastest, v.ms)

    def leave(self, v):
        """What was measured so far is kept."""
        if v.process:
            v.peak = float(v.process.ask("peak"))
            v.process.kill()
            v.process = None

    def measure(self, ours, group):
        """Rounds over those that are not slow.  All medians are over the same rounds: the undisturbed ones if there are
        three, else all."""
        for v in [v for v in group if v.ms > SLOW * self.fastest]:
            self.leave(v)
        group = [v for v in group if v.process]
        if not group and (not ours or ours.rounds):
            return
        turns = ([ours] if ours and ours.process else []) + group
        if not turns:
            return
        rounds = self.rounds or max(ROUNDS[0], min(ROUNDS[1], int(ROUNDS_LIMIT * 1e3 / sum(v.ms for v in turns))))
        for v in turns:
            v.samples = []
        for _ in range(rounds):
            self.turn([v for v in turns if not v.failure])
        turns = [v for v in turns if not v.failure]
        quiet, enough = [r for r in range(rounds) if all(v.samples[r][1] < QUIET for v in turns)], min(3, rounds)
        for v in turns:
            v.rounds = rounds
            v.settle(quiet if len(quiet) >= enough else range(rounds), disturbed=len(quiet) < enough)
        for v in group:
            v.ours_ms = ours.ms if ours in turns else 0.0
            if not v.failure:
                self.leave(v)

    def warm_up(self, v):
        """From the start to the first step or sampling with the reference's weights, in which PyTorch may still compile."""
        say(f"  {v.name}, {v.threads} threads")
        self.start(v)
        self.check(v)
        v.process.ask("reset")
        v.process.timed(self.case.mode)

    def run(self, variants):
        self.write_reference()
        ours, group, largest = next((v for v in variants if v.ours), None), [], 0
        for v in variants:
            if v.eager and v.eager.failure:
                v.failure = "left out: eager, it failed"
                continue
            if v.eager and v.eager.ms > HOPELESS * self.fastest:
                v.failure = f"left out: eager, it takes more than {HOPELESS} times PyTorch's fastest"
                continue
            if group and available_bytes() < 2 * largest:
                self.measure(ours, group)
                group = []
            memory = available_bytes()
            try:
                self.warm_up(v)
            except Failed as error:
                self.fail(v, error)
                continue
            largest = max(largest, memory - available_bytes())
            self.screen(v)
            if v is ours or v.failure:
                continue
            if v.ours or v.ms > SLOW * self.fastest:
                self.leave(v)
            else:
                group.append(v)
        self.measure(ours, group)
        if ours:  # the table says what the ratio is made of
            if best := min((v for v in variants if v.ours_ms and not v.failure), key=lambda v: v.ms, default=None):
                ours.ms = best.ours_ms
            self.leave(ours)
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
    best = min(good, key=lambda v: v.ms)
    return variants, best.name, tunings(tools.python)[best.name]


def output_of(tools, program, *arguments):
    """What one of our programs says in JSON."""
    command = [f"{tools.build}/bench/{program}", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def profile(tools, type, threads, steps):
    command = [tools.sra_step, "--model", "s2", "--batch", "8", "--type", type, "--threads", str(threads)]
    process = Process(command, {}, os.path.join(tools.work, "stderr.log"), START_LIMIT, pin=True)
    try:
        return json.loads(process.ask(f"profile {steps}"))
    finally:
        process.kill()


def recompute_levels(tools, threads, rounds):
    """Milliseconds and peak bytes of a step of S/2, batch 8, bf16, by recompute level; by turns."""
    names = ("none", "norm", "norm_gelu", "block")
    command = [tools.sra_step, "--model", "s2", "--batch", "8", "--type", "bf16", "--threads", str(threads)]
    log, processes = os.path.join(tools.work, "stderr.log"), {}
    try:
        for name in names:
            processes[name] = Process([*command, "--recompute", name], {}, log, START_LIMIT, pin=True)
            processes[name].ask("reset")
            processes[name].timed("step")
        samples = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                samples[name].append(processes[name].timed("step")[0])
        return {name: (statistics.median(samples[name]), float(processes[name].ask("peak"))) for name in names}
    finally:
        for process in processes.values():
            process.kill()


def save(page, target, whole):
    text = page.markdown(whole)
    with open(target, "w") as file:
        file.write(text)
    with open(target.replace(".md", ".svg"), "w") as file:
        file.write(picture(page.kernels, f"A step of SiT-S/2 with SRA, batch 8, {page.threads} threads"))
    return text


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench cpu")
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--case", nargs="+", choices=[c.name for c in CASES], metavar="CASE",
                        help="only these, of: " + ", ".join(c.name for c in CASES))
    parser.add_argument("--no-torch", action="store_true", help="ceilings and our kernels only")
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--python", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_options()
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.abspath(options.build)
    tools = SimpleNamespace(
        build=build, work=os.path.join(build, "compare"), python=os.path.abspath(options.python),
        peer=os.path.join(here, "../peers/sit_torch.py"), sra_step=f"{build}/bench/sra_step")
    os.makedirs(tools.work, exist_ok=True)
    threads = [len(cpus()), 1] if len(cpus()) > 1 else [1]
    rounds = 3 if options.quick else None
    page = report.Page(tools, threads[0])
    say("ceilings")
    page.ceilings = output_of(tools, "ceilings", 5 if options.quick else 15)
    say("our kernels")
    page.sizes = output_of(tools, "sra_kernels", 3 if options.quick else 7)
    page.kernels = {type: profile(tools, type, threads[0], 2 if options.quick else 5) for type in ("fp32", "bf16")}
    page.levels = recompute_levels(tools, threads[0], 3 if options.quick else 7)
    environment = {}
    if not options.no_torch:
        page.tuned, page.how, environment = tune(tools, 2, threads)
    for case in CASES if not options.no_torch else []:
        if options.case and case.name not in options.case:
            continue
        say(case.title)
        comparison = Comparison(tools, case, rounds)
        variants = our_variants(tools, case, threads) + torch_variants(tools, case, environment, threads)
        page.results[case] = (comparison.run(variants), getattr(comparison, "flops", 0.0))
        save(page, os.path.join(build, "cpu.md"), False)  # what follows may fail
    whole = not (options.quick or options.case or options.no_torch)
    print(save(page, os.path.join(here, "../results/cpu.md") if whole else os.path.join(build, "cpu.md"), whole))
    print(json.dumps(page.summary()))


if __name__ == "__main__":
    try:
        main()
    except Differ as error:
        raise SystemExit(f"compare: the two sides differ: {error}") from None
    except Failed as error:
        raise SystemExit(f"compare: our program failed: {error}") from None
