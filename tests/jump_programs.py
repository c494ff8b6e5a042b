"""Random functions of integers with nested loops, `break`, `continue` and early `return`, as source that both Python and tilec take."""

import random

NAMES = ["a", "b", "c"]


class Maker:
    """Writes statements; `counters` are the loop counters that may be read."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count = 0
        self.counters = []

    def expression(self, depth=0):
        kind = self.random.randrange(5)
        if kind == 0:
            return str(self.random.randrange(-3, 8))
        if kind < 3 or depth > 1:
            return self.random.choice(NAMES + self.counters)
        return f"({self.expression(depth + 1)} {self.random.choice('+-*')} {self.expression(depth + 1)})"

    def condition(self):
        compare = self.random.choice(["==", "!=", "<", ">"])
        return f"{self.expression()} % {self.random.randrange(2, 5)} {compare} {self.random.randrange(3)}"

    def block(self, depth, in_loop, helper):
        return ["    " + line for _ in range(self.random.randrange(1, 4)) for line in self.statement(depth, in_loop, helper)]

    def statement(self, depth, in_loop, helper):
        r, kind = self.random, self.random.randrange(10)
        if kind in (4, 5) and depth <= 3:
            other = ["else:", *self.block(depth + 1, in_loop, helper)] if r.random() < 0.4 else []
            return [f"if {self.condition()}:", *self.block(depth + 1, in_loop, helper), *other]
        if kind == 6 and in_loop:
            return [f"if {self.condition()}:", "    " + r.choice(["break", "continue"])]
        if kind == 7 and not (helper and in_loop):  # no value is returned out of a loop
            return [f"if {self.condition()}:", "    return a, b + 1, c" if helper else "    return"]
        if kind >= 8 and depth < 3:
            return self.loop(depth, helper, kind == 8)
        return [f"{r.choice(NAMES)} = ({self.expression()} + {self.expression()}) % 50"]

    def loop(self, depth, helper, counted):
        self.count += 1
        name = f"i{self.count}"
        if not counted:
            return [f"{name} = 0", f"while {name} < {self.random.randrange(1, 5)}:", f"    {name} += 1", *self.block(depth + 1, True, helper)]
        over = self.random.choice(["range({})", "range(n + {})", "unrolled({})"]).format(self.random.randrange(1, 5))
        self.counters.append(name)
        body = self.block(depth + 1, True, helper)
        self.counters.pop()
        return [f"for {name} in {over}:", *body]


def source(seed):
    """A module with `k(y, a, b, c, n)`, which writes y[0] first and all three of y unless it returns before, and a helper that it calls."""
    maker = Maker(seed)
    helper, body = maker.block(0, False, True), maker.block(0, False, False)
    ends = ["    a, b, c = helper(a, b, c, n)", *(f"    put(y, {i}, {name})" for i, name in enumerate(NAMES))]
    head = ["@function", "def helper(a, b, c, n):", *helper, "    return a, b, c", ""]
    return "\n".join([*head, "@kernel", "def k(y: ints, a: i32, b: i32, c: i32, n: i32):", "    begin(1)", "    put(y, 0, a)", *body, *ends, ""])
