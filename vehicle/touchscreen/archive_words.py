"""How a recording stands with the hospital's archive, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.interop.dicom_queue import SIGNED_SINCE
from sync.web.catalog import Texts

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle


def archive_words(vehicle: Vehicle, sha256: str, belongs: bool, t: Texts) -> tuple[str, str]:
    """(state, words).

    :param belongs: it is somebody's, of an encounter
    """
    queue = vehicle.picture_archive
    if queue is None:
        return "none", ""
    rows = vehicle.store.read(
        f"SELECT d.state, d.reason, {SIGNED_SINCE} AS again FROM dicom_deliveries AS d "
        "LEFT JOIN ecg_analyses AS s ON s.sha256 = d.sha256 WHERE d.sha256 = ? AND d.destination = ?",
        (sha256, queue.destination),
    )
    state, reason = (rows[0]["state"], rows[0]["reason"] or "") if rows and not rows[0]["again"] else ("", "")
    if state in ("stored", "refused"):
        return state, t(f"touch.ultrasound.archive_{state}", reason=reason)
    if not belongs:
        return "nobody", t("touch.ultrasound.archive_nobody")
    if vehicle.settings.practice:
        return "practice", t("touch.ultrasound.archive_practice")
    now = queue.status()
    if now.sending == sha256:
        return "sending", t("touch.ultrasound.archive_sending")
    if now.held:
        return "held", t("touch.ultrasound.archive_held")
    if now.trouble:
        return now.trouble, t(f"touch.ultrasound.archive_{now.trouble}", reason=now.reason)
    return "waiting", t("touch.ultrasound.archive_waiting")
