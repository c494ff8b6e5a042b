"""Tests compile anew, unless the environment names a cache."""

import os

os.environ.setdefault("TILEC_CACHE_DIR", "off")
