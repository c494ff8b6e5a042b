"""Print the table of the corpus:  python -m tests.sim.corpus [NAME...] [--wrong] [--mutants] [--no-checks]"""

import argparse
import collections
import sys
import time

from tilec.sim import Unsupported

from .cases import CASES
from .run import run, run_wrong
from .wrong_cases import WRONG, mutants


def first_line(text):
    return str(text).strip().split("\n")[0][:150]


def right_ones(names, options):
    tally = collections.Counter()
    for case in CASES.values():
        if names and not any(n in case.name for n in names):
            continue
        o = run(case, **options)
        tally[case.compiler, o.verdict] += 1
        tally["findings", "on right kernels"] += bool(o.findings)
        print(
            f"{case.name:36s} {o.verdict:12s} {o.seconds * 1e3:8.0f} ms  {len(o.findings):2d} findings  {first_line(o.detail)}", flush=True
        )
        for f in o.findings[:2]:
            print("        ", str(f).replace("\n", "\n         "))
    for (what, verdict), n in sorted(tally.items()):
        print(f"{what:24s} {verdict:16s} {n}")
    return sum(n for (_, v), n in tally.items() if v in ("wrong", "error", "on right kernels"))


def wrong_ones(names):
    missed = 0
    for w in WRONG.values():
        if names and w.entry not in names:
            continue
        start = time.perf_counter()
        try:
            report = run_wrong(w)
            kinds = [f.kind for f in report.findings]
            verdict = "found" if set(kinds) & set(w.kinds) else "MISSED"
        except Unsupported as error:
            verdict, kinds = "unsupported", [first_line(error)]
        except Exception as error:
            verdict, kinds = "error", [f"{type(error).__name__}: {first_line(error)}"]
        missed += verdict != "found"
        ms = (time.perf_counter() - start) * 1e3
        print(f"{w.entry:32s} {verdict:12s} {ms:6.0f} ms  wanted {'/'.join(w.kinds)}, got {', '.join(kinds)}", flush=True)
    return missed


def mutated_ones():
    for m in mutants():
        o = run(m.case, m.ptx)
        kinds = ", ".join(sorted({f.kind for f in o.findings}))
        print(f"{m.case.name:26s} {m.what:36s} line {m.line:4d} {o.verdict:10s} {kinds} {first_line(o.detail)}", flush=True)


def main():
    p = argparse.ArgumentParser(
        prog="python -m tests.sim.corpus", description="Run the corpus of other compilers' kernels in the simulator."
    )
    p.add_argument("names", nargs="*", help="only cases whose name contains one of these")
    p.add_argument("--wrong", action="store_true", help="the kernels that are wrong on purpose")
    p.add_argument("--mutants", action="store_true", help="right kernels with a barrier or a wait deleted")
    p.add_argument("--no-checks", action="store_true")
    a = p.parse_args()
    if a.wrong:
        return wrong_ones(a.names)
    if a.mutants:
        return mutated_ones()
    return right_ones(a.names, {"checks": False, "costs": False} if a.no_checks else {})


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
