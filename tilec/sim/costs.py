from typing import Any


class Costs:
    def __init__(self, *a: Any): pass
    def access(self, a): pass
    def wave(self, m): pass
    def finish(self, r): pass
