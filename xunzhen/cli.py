"""The console script: ``xunzhen vehicle | consultation | county | demo``; each is also ``python -m`` its package."""

from __future__ import annotations

import runpy
import sys

SERVICES = {
    "vehicle": ("vehicle", "the van: devices, record, touchscreen"),
    "consultation": ("telemedicine", "the van's media process"),
    "county": ("telemedicine.exchange", "the county server with the consultation exchange"),
    "demo": ("xunzhen.demo", "all of it on this machine, with simulated devices"),
}


def main() -> None:
    """Run the named service in this process; exit 2 with the list of services when the name is unknown."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in SERVICES:
        print("usage: xunzhen SERVICE [--settings FILE] ...\n", file=sys.stderr)
        for service, (_, purpose) in SERVICES.items():
            print(f"  {service:13} {purpose}", file=sys.stderr)
        sys.exit(0 if name in ("-h", "--help") else 2)
    module, _ = SERVICES[name]
    sys.argv = [f"xunzhen {name}", *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
