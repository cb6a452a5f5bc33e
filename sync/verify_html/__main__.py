"""``python -m sync.verify_html [FILE]``: write the second verifier, build/xunzhen-verify.html."""

from __future__ import annotations

import sys

from sync.verify_html import main

sys.exit(main(sys.argv[1:]))
