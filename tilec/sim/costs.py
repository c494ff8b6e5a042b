from typing import Any
class Costs:
    def __init__(self, *a: Any): pass
