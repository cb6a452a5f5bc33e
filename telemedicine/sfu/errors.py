"""Why there is no session with an SFU, by what a person can do about it."""

from __future__ import annotations

from devices.errors import AskPerson


class SfuRefused(AskPerson):
    """The SFU did not do what it was asked; ``str()`` has its own words."""

    code = "sfu_failed"


class SfuUnauthorized(SfuRefused):
    code = "sfu_unauthorized"


class SfuEndpointUnknown(SfuRefused):
    code = "sfu_endpoint_unknown"


class SfuEndpointInUse(SfuRefused):
    code = "sfu_endpoint_in_use"


class SfuOfferRefused(SfuRefused):
    """It cannot take H.264 and Opus, or it is none of both protocols."""

    code = "sfu_offer_refused"


class SfuBusy(SfuRefused):
    """
    :ivar retry_after_s: when it wants to be asked again (RFC 9110 10.2.3); None: it did not say
    """

    code = "sfu_busy"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SfuUnreachable(SfuRefused):
    code = "sfu_unreachable"


class SfuNotTrusted(SfuRefused):
    """Its certificate is of nobody whom this computer trusts."""

    code = "sfu_not_trusted"


class SfuNoMedia(SfuRefused):
    """It has answered, and no packet gets through to it (ICE), or none any more."""

    code = "sfu_no_media"


class SfuTokenMissing(SfuRefused):
    """The file with the bearer token cannot be read, or it is empty."""

    code = "sfu_token_missing"
