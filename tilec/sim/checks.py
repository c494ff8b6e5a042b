from typing import Any
class Checker:
    def __init__(self, *a: Any): pass
