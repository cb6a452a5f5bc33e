"""The van's side of a consultation: what the vehicle's journal says is told to the exchange, what specialists ask is
proposed to the vehicle, and each viewer gets one WebRTC leg.

No state of its own survives: after a crash everything is asked from the vehicle again, so this process may be killed
at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from aiortc import RTCCertificate

from devices.clock import Clock
from devices.events import emit
from sync.keys.vehicle_key import PurposeSigner
from telemedicine import heap
from telemedicine.background import Background
from telemedicine.camera_preview import CameraPreview, NoOutsideCamera
from telemedicine.chosen_cameras import outside_camera
from telemedicine.consultation import OPEN, Event, State, WrongMoment, next_state
from telemedicine.invitation import case_of
from telemedicine.legs import KIOSK, Legs, account_of, who
from telemedicine.live_data import LiveData
from telemedicine.marks import Marks
from telemedicine.media.h264 import H264
from telemedicine.media_engine import MediaEngine
from telemedicine.participants import Participant, Participants
from telemedicine.peer import Leg, OfferRefused
from telemedicine.settings import ConsultationSettings, IceServer
from telemedicine.sfu.hospital import Hospital
from telemedicine.signalling_client import SignallingClient
from telemedicine.transport.certificate import fingerprint, make_certificate
from telemedicine.transport.relay import RelayChoice
from telemedicine.ultrasound.bridge import UltrasoundBridge
from telemedicine.ultrasound.on_board import UltrasoundOnBoard
from telemedicine.vehicle_client import VehicleAway, VehicleClient, VehicleRefused
from telemedicine.wire import (
    CASE_REFUSED,
    Accept,
    Answer,
    Case,
    Cases,
    Decline,
    Fault,
    FromExchange,
    HangUp,
    Offer,
    OpinionSigned,
    OpinionStored,
    Refused,
    Relays,
    Specialist,
    StateChanged,
)

LOOK_EVERY_S = 5.0
"""The vehicle tells every change on its live feed; this is only the net below."""
FEEDS_EVERY_S = 1.0
NEWS_BOUND = 20
GOODBYE_WITHIN_S = 3.0


class Van:
    def __init__(
        self,
        settings: ConsultationSettings,
        key: PurposeSigner,
        clock: Clock,
        jitter: Callable[[], float],
        h264: H264 | None,
        certificate: RTCCertificate | None = None,
    ) -> None:
        """
        :param jitter: 0 <= x < 1, for back-off
        :param h264: the encoder for every feed; None: the session has voice and data only
        :param certificate: what every connection shows; None: a new one
        """
        self._settings = settings
        self._key = key
        self._clock = clock
        self._vehicle = VehicleClient(settings.vehicle_socket)
        self._live_data = LiveData(
            self._vehicle, clock, self._consultation_told, lambda said: self._ultrasound.told(said)
        )
        self._signalling = SignallingClient(
            settings.exchange.url, key, clock, jitter, self._joined, self._from_exchange
        )
        self._certificate = certificate or make_certificate(clock.now())
        self._ultrasound = UltrasoundOnBoard(
            settings,
            h264,
            self._vehicle,
            clock,
            lambda: self._case,
            lambda: self._live_data.withheld,
            lambda: round(self._engine.uplink.target_bit_s),
        )
        self._engine = MediaEngine(settings.feeds, h264, clock, self._ultrasound.prepared, self._live_data.spare)
        self.preview = CameraPreview(clock, self._engine.pictures_from, lambda: self._engine.in_use)
        self._relay = RelayChoice(clock)
        self._marks = Marks(clock)
        self._people = Participants(self._tell_access)
        self._legs = Legs(
            self._engine,
            self._live_data,
            self._marks,
            self._ultrasound,
            self._relay,
            self._certificate,
            self._relays,
            self._leg_state,
        )
        self._hospitals = [
            Hospital(sfu, self._engine, self._certificate, self._relays, self._tell_access, clock)
            for sfu in settings.sfu
        ]
        self._background = Background()
        self._look_now = asyncio.Event()
        self._news: dict[str, StateChanged] = {}
        """The vehicle's last live message about each consultation; told again whenever the exchange is joined."""
        self._news_sent: dict[str, StateChanged] = {}
        self._case: Case | None = None
        self._case_sent: Case | None = None
        self._case_refused = False
        """The exchange did not take the case as it was last told: specialists may not see it."""
        self._specialist: Specialist | None = None
        self._none_told = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._live_data.run())
                group.create_task(self._signalling.run())
                group.create_task(self._follow_vehicle())
                group.create_task(self._engine.run())
                group.create_task(self._follow_feeds())
                group.create_task(self._ultrasound.run())
                group.create_task(self._relay.run())
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    await asyncio.gather(self._legs.close_all(), *(hospital.close() for hospital in self._hospitals))
            self.preview.close()
            await self._engine.close()
            await self._vehicle.close()

    # what the touchscreen's server asks

    async def kiosk_answer(self, sdp: str) -> str:
        """The answer to the touchscreen's own offer; an older leg of the touchscreen is closed.

        :raises OfferRefused: says what the page has to change
        """
        return await self._legs.answer(KIOSK, sdp, None)

    async def hang_up(self) -> None:
        """End the live session for everybody; the opinion is still due.

        :raises VehicleAway: the vehicle does not answer; the legs are closed all the same
        """
        await self._legs.close_all()
        if self._case is not None and self._case.live:
            await self._propose(self._case.invitation.consultation, Event.ENDED, "")

    async def photo(self) -> bytes:
        """What the camera that looks out of the van shows now, as JPEG.

        :raises NoOutsideCamera, CameraInConsultation, CameraShowsNothing: see there
        """
        address = outside_camera(self._settings)
        if address is None:
            raise NoOutsideCamera("no camera is said to look out of the van")
        return await self.preview.photo(address)

    @property
    def ultrasound(self) -> UltrasoundBridge | None:
        """Freeze and clips; None when the van has no ultrasound."""
        return self._ultrasound.bridge

    def status(self) -> dict[str, Any]:
        case, connected = self._case, self._legs.connected()
        return {
            "exchange": self._exchange_told(),
            "consultation": case.invitation.consultation if case is not None else None,
            "state": str(case.state) if case is not None else None,
            "specialist": self._specialist.model_dump() if self._specialist is not None else None,
            "viewers": sorted(account_of(name) for name in connected),
            "routes": {name: leg.route for name, leg in connected.items()},
            "relay": self._relay.told_as(),
            "vehicle_feed": "up" if self._live_data.connected else "down",
            "sfu": [line for hospital in self._hospitals for line in hospital.told()],
            **self._engine.told(),
        }

    def _exchange_told(self) -> str:
        if self._signalling.refused or (self._signalling.joined and self._case_refused):
            return "refused"
        return "joined" if self._signalling.joined else "lost"

    # what the vehicle says

    def _joined(self) -> None:
        self._case_sent, self._none_told = None, False
        self._news_sent.clear()
        self._look_now.set()

    def _consultation_told(self, message: dict[str, Any]) -> None:
        """The vehicle's live message about a consultation; {} says only that it is time to look."""
        try:
            decision = message.get("decision")
            news = StateChanged(
                consultation=message["consultation"],
                state=message["state"],
                decision=decision if isinstance(decision, dict) else None,
            )
        except (KeyError, ValueError):
            pass  # no news of one consultation; look for ourselves
        else:
            self._news.pop(news.consultation, None)
            self._news[news.consultation] = news
            for oldest in list(self._news)[:-NEWS_BOUND]:
                del self._news[oldest]
        self._look_now.set()

    async def _follow_vehicle(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):  # wait_for may swallow a cancellation (Python 3.11)
                    await self._look_now.wait()
            self._look_now.clear()
            try:
                await self._look()
            except VehicleAway:
                continue  # the live feed has said so already; what runs goes on
            except VehicleRefused as refusal:
                emit("signalling_refused", who="vehicle", reason=str(refusal))

    async def _look(self) -> None:
        view = await self._vehicle.consultation()
        if view is None or State(view["state"]) not in OPEN:
            self._case_refused = False
            await self._nothing_open()
            return
        if self._case is None or self._case.invitation.consultation != view["consultation"]:
            self._specialist = None
            self._marks.forget()
            self._people.forget()
        case = self._case = case_of(view, self._key, self._specialist, fingerprint(self._certificate))
        self._live_data.about(case.invitation.summary.get("encounter"))
        self._follow_hospitals(case.invitation.consultation if case.live else None)
        if not case.live:
            await self._legs.close_pages()
        if not self._signalling.joined:
            return
        if case != self._case_sent and await self._signalling.send(case):
            self._case_refused = False
            await self._signalling.send(Cases(consultations=[case.invitation.consultation]))
            self._case_sent, self._none_told = case, False
        await self._tell_news(case.invitation.consultation)
        if case.state == State.REQUESTED and self._case_sent == case:
            await self._propose(case.invitation.consultation, Event.INVITED, "")
        elif case.state == State.CONNECTED and not self._legs.specialist_there:
            await self._propose(case.invitation.consultation, Event.INTERRUPTED, "", "link lost")

    async def _nothing_open(self) -> None:
        await self._legs.close_pages()
        self._follow_hospitals(None)
        self._case = None
        self._live_data.about(None)
        await self._tell_news("")
        if not self._none_told and await self._signalling.send(Cases(consultations=[])):
            self._none_told, self._case_sent = True, None

    async def _tell_news(self, current: str) -> None:
        """Tell what became of consultations other than the current one; that one is told whole."""
        for name, news in list(self._news.items()):
            if name != current and self._news_sent.get(name) != news and await self._signalling.send(news):
                self._news_sent[name] = news

    # what the exchange says

    async def _from_exchange(self, message: FromExchange) -> None:
        try:
            match message:
                case Accept():
                    await self._accept(message)
                case Decline():
                    await self._propose(message.consultation, Event.DECLINED, who(message.specialist), message.reason)
                case Offer():
                    await self._offer(message)
                case HangUp() if message.role != "lead":
                    await self._legs.close_pages(message.specialist.id)
                    await self._people.left(message.consultation, message.specialist.id)
                case HangUp():
                    if self._case is not None and self._case.invitation.consultation == message.consultation:
                        await self._legs.close_pages()  # what another consultation is talking in goes on
                        await self._people.all_left(message.consultation)
                    await self._propose(message.consultation, Event.ENDED, who(message.specialist))
                case OpinionSigned():
                    await self._opinion(message)
                case Relays():
                    self._relay.take(message)
                case Fault():
                    self._case_refused |= message.code == CASE_REFUSED
                    emit("signalling_refused", who="exchange", reason=message.message)
        except VehicleAway:
            said = "the vehicle's own computer is restarting; try again in a moment"
            await self._refuse(message, said, "vehicle_restarting")
        except OfferRefused as refusal:
            await self._refuse(message, str(refusal), "offer")
        except WrongMoment as refusal:
            await self._refuse(message, str(refusal), str(refusal.facts.get("word", "wrong_moment")))
        except VehicleRefused as refusal:
            await self._refuse(message, str(refusal), "wrong_moment")

    async def _accept(self, message: Accept) -> None:
        case = self._expect(message.consultation)
        if self._specialist is not None and self._specialist.id != message.specialist.id:
            raise WrongMoment("another specialist has accepted already", word="taken")
        next_state(case.state, Event.ACCEPTED)
        before, self._specialist = self._specialist, message.specialist
        try:
            await self._propose(message.consultation, Event.ACCEPTED, who(message.specialist))
        except (VehicleAway, VehicleRefused):
            self._specialist = before
            raise

    async def _offer(self, message: Offer) -> None:
        case = self._expect(message.consultation)
        if not case.live:
            said = "its session was hung up" if case.session_over else f"the consultation is {case.state}"
            raise WrongMoment(f"{said}; there is no live session now", word="no_session")
        if (
            message.role == "lead" and self._specialist is None
        ):  # this process has restarted; the exchange knows who accepted
            self._specialist = message.specialist
            self._look_now.set()
        if message.role == "lead" and self._specialist is not None and self._specialist.id != message.specialist.id:
            raise WrongMoment("another specialist has accepted this consultation", word="taken")
        participant = Participant(message.specialist, message.role, message.invited_by)
        if not self._people.admit(participant):
            raise WrongMoment("there are enough guests in this session", word="full")
        page = message.session.partition("_")[0]
        sdp = await self._legs.answer(f"{message.specialist.id}/{page}", message.sdp, participant)
        await self._legs.close_oldest_pages(message.specialist.id)
        await self._signalling.send(
            Answer(
                consultation=message.consultation,
                specialist=message.specialist.id,
                session=message.session,
                sdp=sdp,
            )
        )

    async def _opinion(self, message: OpinionSigned) -> None:
        await self._vehicle.opinion(message.signed)
        emit("opinion_received", consultation=message.signed.consultation)
        await self._signalling.send(
            OpinionStored(consultation=message.signed.consultation, signature=message.signed.signature)
        )
        self._look_now.set()

    def _expect(self, consultation: str) -> Case:
        if self._case is None or self._case.invitation.consultation != consultation:
            raise WrongMoment("this consultation is not open in the van any more", word="over")
        return self._case

    async def _propose(self, consultation: str, event: Event, who: str, reason: str = "") -> None:
        await self._vehicle.event(consultation, event, who, reason)
        self._look_now.set()

    async def _refuse(self, message: FromExchange, reason: str, word: str) -> None:
        if isinstance(message, Accept | Decline | Offer | HangUp):
            consultation, session = message.consultation, getattr(message, "session", None)
        elif isinstance(message, OpinionSigned):
            consultation, session = message.signed.consultation, None
        else:
            return
        await self._signalling.send(
            Refused(
                consultation=consultation,
                specialist=message.specialist.id,
                session=session,
                about=message.type,
                reason=reason[:400],
                word=word,
            )
        )

    # the connections

    def _leg_state(self, leg: Leg, state: str) -> None:
        consultation = self._case.invitation.consultation if self._case is not None else ""
        if state == "connected":
            emit("viewer_connected", consultation=consultation, viewer=leg.name)
        elif state in ("disconnected", "failed", "closed"):
            emit("viewer_lost", consultation=consultation, viewer=leg.name)
        if leg.name == KIOSK or self._case is None:
            return
        account = account_of(leg.name)
        if state == "connected":
            self._background.start(self._propose_quietly(consultation, Event.CONNECTED, account))
            self._background.start(self._people.arrived(consultation, account))
        elif self._case.state == State.CONNECTED and state != "connecting" and not self._legs.specialist_there:
            self._background.start(self._propose_quietly(consultation, Event.INTERRUPTED, account, "link lost"))

    def _follow_hospitals(self, consultation: str | None) -> None:
        for hospital in self._hospitals:
            hospital.follow(consultation)

    async def _relays(self) -> tuple[IceServer, ...]:
        return self._settings.ice_servers or await self._relay.servers()

    async def _tell_access(self, consultation: str, participant: Participant, here: bool) -> None:
        await self._vehicle.access(
            consultation, who(participant.specialist), participant.role, participant.invited_by, here
        )

    async def _propose_quietly(self, consultation: str, event: Event, who: str, reason: str = "") -> None:
        """A change of the media's state: when it comes at the wrong moment, the journal's state is the right one."""
        with contextlib.suppress(VehicleAway, VehicleRefused):
            await self._propose(consultation, event, who, reason)

    async def _follow_feeds(self) -> None:
        """The feeds' state to every page, when it changes; and how the link of a live session stands."""
        last: dict[str, Any] = {}
        was_in_use = False
        while True:
            await self._clock.sleep(FEEDS_EVERY_S)
            case = self._case
            live = case is not None and case.state in (State.CONNECTED, State.INTERRUPTED)
            self._engine.session_link.look(case.invitation.consultation if case is not None and live else None)
            said: dict[str, dict[str, Any]] = {
                "feeds": {"feeds": self._engine.feeds_told()},
                "session_rung": {"rung": str(self._engine.session_link.rung)},
            }
            for kind, now in said.items():
                if now != last.get(kind):
                    self._live_data.tell({"type": kind, **now})
            last = said
            in_use = self._engine.in_use
            if was_in_use and not in_use:
                heap.give_back()
            was_in_use = in_use
