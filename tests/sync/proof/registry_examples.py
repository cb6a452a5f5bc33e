"""One entry of each kind of the registry, as its fields."""

from __future__ import annotations

from typing import Any

from sync.proof.coverage import Rules

VKEY = "van-07.qingyu.example+00000000+AA=="

EXAMPLES: dict[str, dict[str, Any]] = {
    "village/1": {
        "code": "999901101201",
        "name": "王家村",
        "township": "青峪镇",
        "valid_from": "1970-01-01",
        "valid_until": "2026-12-31",
        "centre": [1040000000, 310000000],
        "rings": [[[1039900000, 309900000], [1040100000, 309900000], [1040000000, 310100000]]],
        "neighbours": ["999901101202"],
        "cells": ["460-00-1-2"],
    },
    "village_list/1": {"villages": {"999901101201": [0]}},
    "rules/1": {"version": 2, "rules": Rules(version=2).as_json()},
    "screening_rules/1": {
        "edition": 2,
        "sha256": "ab" * 32,
        "file": "eJyrVkrLz1eyUkpKLFKqBQAjUgRX",
        "name": "许静",
        "reason": "县专家组 9 月会议",
        "rules": ["BP-GRADE"],
        "before": 4,
    },
    "waivers/1": {
        "month": "2026-09",
        "waived": {"999901101201": {"reason": "大雪封路", "by": "xu.jing", "at": "2026-09-03T01:02:03.456Z"}},
    },
    "reviews/1": {
        "month": "2026-09",
        "decided": {
            "visit-1": {
                "origin": "van-07.qingyu.example",
                "decision": "counted",
                "reason": "电话核实",
                "by": "xu.jing",
                "at": "2026-09-03T01:02:03.456Z",
            }
        },
        "before": 3,
    },
    "vehicle/1": {
        "origin": "van-07.qingyu.example",
        "vehicle": "van-07",
        "plate": "川A·演07",
        "keys": [{"key": VKEY, "from_size": 0, "until_size": 10}, {"key": VKEY, "from_size": 10}],
        "revoked": {"size": 20, "at": "2026-09-03T01:02:03.456Z", "reason": "失窃"},
        "succeeds": "van-06.qingyu.example",
    },
    "verdict/1": {
        "month": "2026-09",
        "township": "青峪镇",
        "township_code": "999901101",
        "practice": False,
        "rules": 4,
        "village_list": 2,
        "villages": {
            "999901101201": {
                "state": "partial",
                "counted": 1,
                "visits": [
                    {
                        "visit": "visit-1",
                        "origin": "van-07.qingyu.example",
                        "day": "2026-09-08",
                        "state": "short",
                        "reasons": ["too_short"],
                    }
                ],
            }
        },
        "supersedes": 7,
    },
    "index/1": {
        "rules": 4,
        "village_list": 2,
        "waivers": {"2026-09": 5},
        "reviews": {},
        "vehicles": {"van-07.qingyu.example": 6},
        "verdicts": {"2026-08": {"999901101": 7}},
    },
}
