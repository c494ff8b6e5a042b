"""Tests compile anew, unless the environment names a cache, and take the time that a busy machine gives them."""

import os

from hypothesis import settings

os.environ.setdefault("TILEC_CACHE_DIR", "off")
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
