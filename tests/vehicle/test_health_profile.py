"""The page of a person over a real store: which answers of the rules it shows."""

from __future__ import annotations

from pathlib import Path

from clinic_world import DOCTOR
from test_follow_ups import ME, Clinic

from devices.clock import SimulatedClock
from vehicle.clinic.background import Backgrounds
from vehicle.clinic.health_profile import HealthProfiles
from vehicle.clinic.households import Households


async def test_a_rule_that_could_not_say_does_not_hide_what_it_found_before(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    clinic = Clinic(tmp_path, clock)
    profiles = HealthProfiles(
        clinic.store,
        clinic.people,
        Households(clinic.store, clinic.ids, clinic.people),
        clinic.programmes,
        clinic.follow_ups,
        clinic.prompts,
        Backgrounds(clinic.store, clinic.people),
    )
    patient = await clinic.serve()
    served = clinic.encounters.current()
    assert served is not None
    await clinic.prompts.answer(served.encounter, {"cough_weeks": 3, "haemoptysis": False}, DOCTOR)

    def shown() -> list[tuple[str, str]]:
        lines = profiles.of(patient.patient, ME, "zh").screening
        return [(line.result, line.grade) for line in lines if line.title == "肺结核可疑症状筛查"]

    assert shown() == [("肺结核可疑症状者", "orange")]
    await clinic.encounters.close(DOCTOR)
    clinic.clock.advance(86_400)
    await clinic.encounters.open(patient.patient, DOCTOR)
    served = clinic.encounters.current()
    assert served is not None
    await clinic.prompts.answer(served.encounter, {"haemoptysis": False}, DOCTOR)
    assert shown() == [("肺结核可疑症状者", "orange")]
    negative = dict.fromkeys(("fever", "chest_pain", "night_sweats", "weight_loss", "appetite_loss", "fatigue"), False)
    await clinic.prompts.answer(served.encounter, {"cough_weeks": 0, **negative}, DOCTOR)
    assert shown() == []
    clinic.close()
