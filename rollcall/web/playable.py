"""Whether a browser plays a file as it is, on the clock that turns and boxes use."""

from __future__ import annotations

from asd_core.records import MediaInfo

# container (FFmpeg's name begins so) -> type to serve it as, codecs of picture and sound that browsers agree on
BROWSERS = {
    "mov": ("video/mp4", {"h264", "av1", "vp9"}, {"aac", "mp3", "opus", "flac"}),
    "matroska,webm": ("video/webm", {"vp8", "vp9", "av1"}, {"opus", "vorbis"}),
    "mp3": ("audio/mpeg", set(), {"mp3"}),
    "wav": ("audio/wav", set(), {"pcm_s16le"}),
}
CLOCK_TOLERANCE = 0.02  # seconds between the container's clock and the asset's that nobody notices


def media_type(info: MediaInfo, audio_track: int | None, suffix: str) -> str | None:
    """Return the content type under which browsers play the file itself, None where they need a proxy.

    Browsers play the first or default sound only, know no interlacing, and count from the container's zero.
    """
    for begin, (kind, pictures, sounds) in BROWSERS.items():
        if not info.container.startswith(begin):
            continue
        if kind == "video/webm" and suffix.lower() != ".webm":
            return None  # Matroska proper: some browsers play it, some do not
        return kind if _plays(info, audio_track, pictures, sounds) else None
    return None


def _plays(info: MediaInfo, audio_track: int | None, pictures: set[str], sounds: set[str]) -> bool:
    video = info.video
    if video is not None:
        if video.codec not in pictures or video.interlaced or video.pixel_format not in ("yuv420p", "yuvj420p"):
            return False
        if video.start > CLOCK_TOLERANCE or abs(video.sample_aspect - 1.0) > 0.01:
            return False
    if abs(info.origin) > CLOCK_TOLERANCE:
        return False
    if not info.audio_tracks:
        return True
    chosen = [track for track in info.audio_tracks if track.index == audio_track] or list(info.audio_tracks[:1])
    first = min(info.audio_tracks, key=lambda track: (not track.default, track.index))
    return chosen[0].codec in sounds and chosen[0].index == first.index and chosen[0].start <= 10 * CLOCK_TOLERANCE and chosen[0].channels <= 2
