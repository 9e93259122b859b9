"""`analyse_clip`: the whole line for one clip, read from top to bottom like a recipe.

The flows run the same steps as cached tasks; a test demands that both give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from asd_core.faces.detect import Detector, open_detector
from asd_core.faces.embed import Embedder, embed_tracks, open_embedder
from asd_core.identity.cluster import ClusterOptions, cluster
from asd_core.look import LookOptions, look, picture_marks
from asd_core.media.audio import read_audio
from asd_core.media.probe import probe
from asd_core.models.network import OpenNetwork
from asd_core.models.registry import Model
from asd_core.records import Analysis, Embeddings, Look, MediaInfo, People, Scores, Sound, Stitched, TrackTurns
from asd_core.speech.activity import VoiceDetector, load_voice_detector
from asd_core.speech.listen import ListenOptions, listen_to_asset
from asd_core.speech.score import ScoreOptions, SpeakingNetwork, open_speaking, score_tracks
from asd_core.stitch import StitchOptions, chip_faces, stitch, visual_features
from asd_core.turns.assemble import assemble
from asd_core.turns.decide import TurnOptions, decide

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True)
class Networks:
    """The opened networks of the three roles, and which models they are."""

    detector: Detector
    speaking: SpeakingNetwork
    embedder: Embedder
    models: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """The options of every stage; each has sensible defaults."""

    look: LookOptions = field(default_factory=LookOptions)
    stitch: StitchOptions = field(default_factory=StitchOptions)
    listen: ListenOptions = field(default_factory=ListenOptions)
    score: ScoreOptions = field(default_factory=ScoreOptions)
    turns: TurnOptions = field(default_factory=TurnOptions)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    decode_threads: int = 1


def open_networks(models: Mapping[str, Model], open_network: OpenNetwork) -> Networks:
    """Return the networks of the roles `detector`, `speaking` and `embedder`; `open_network` makes a session of a file."""
    return Networks(
        detector=open_detector(models["detector"], open_network),
        speaking=open_speaking(models["speaking"], open_network),
        embedder=open_embedder(models["embedder"], open_network),
        models={role: model.told for role, model in sorted(models.items())},
    )


def analyse_clip(path: Path, networks: Networks, options: AnalysisOptions | None = None, *, on_progress: Progress | None = None) -> Analysis:
    """Return who spoke when in one media file.

    Args:
        path: the file; any container and codec that FFmpeg reads.
        networks: see `open_networks`.
        options: per stage.
        on_progress: called as (stage, done, total).

    Raises:
        MediaError: the file cannot be decoded. No faces, no speech, no sound and no picture are results, not errors.
    """
    options = options or AnalysisOptions(cluster=ClusterOptions().for_embedder(networks.embedder.thresholds))
    begin = on_progress or (lambda stage, done, total: None)
    begin("probe", 0, 1)
    info = probe(path)
    voice = load_voice_detector() if info.audio_tracks else None  # before any thread begins
    with ThreadPoolExecutor(1) as beside:
        hearing = beside.submit(hear, path, info, options.listen, detector=voice)
        begin("look", 0, info.duration)
        seen = _look_at_all(path, info, networks, options, on_progress)
        begin("listen", 0, 1)  # what it still takes after the picture
        sound = hearing.result()
    begin("stitch", 0, 1)
    picture = stitch([seen], info, options.stitch)
    begin("score", 0, 1)
    block = {block.mark: block for block in seen.blocks}.__getitem__
    scores = score_tracks(picture.tracks, lambda n: visual_features(picture.pieces[n], block), sound, networks.speaking, options.score)
    begin("embed", 0, 1)
    embeddings = embed_tracks(picture.chips, lambda n: chip_faces(picture.pieces[n], block), networks.embedder)
    begin("decide", 0, 1)
    spoken = decide(picture.tracks, scores, sound, options.turns)
    begin("group", 0, 1)
    people = cluster(picture.tracks, embeddings, picture.chips, options.cluster)
    return gather(info, picture, sound, scores, embeddings, people, spoken, networks.models, options)


def gather(
    info: MediaInfo,
    picture: Stitched,
    sound: Sound,
    scores: Scores,
    embeddings: Embeddings,
    people: People,
    spoken: TrackTurns,
    models: dict[str, dict[str, str]],
    options: AnalysisOptions,
) -> Analysis:
    """Return the whole of what the stages found; `settings` holds the options that a result depends on."""
    settings = asdict(options)
    del settings["decode_threads"]
    return Analysis(
        info=info,
        audio_track=sound.audio_track,
        shots=picture.shots,
        speech=sound.speech,
        spans=tuple(sorted((*picture.spans, *sound.spans), key=lambda s: (s.start, s.kind))),
        tracks=picture.tracks,
        scores=scores,
        embeddings=embeddings,
        chips=picture.chips,
        thumbnails=picture.thumbnails,
        people=people,
        turns=assemble(spoken, people, sound.audio_track, info.duration, options.turns),
        models=models,
        settings=settings,
    )


def _look_at_all(path: Path, info: MediaInfo, networks: Networks, options: AnalysisOptions, on_progress: Progress | None) -> Look:
    return look(
        path,
        info,
        picture_marks(info),
        detector=networks.detector,
        encoder=networks.speaking,
        options=options.look,
        decode_threads=options.decode_threads,
        on_progress=on_progress,
    )


def hear(path: Path, info: MediaInfo, options: ListenOptions, on_progress: Progress | None = None, detector: VoiceDetector | None = None) -> Sound:
    """Return the sound that a file is judged by; nothing of the file but its sound tracks is decoded."""
    return listen_to_asset(
        info.audio_tracks, lambda index: read_audio(path, info, index), info.duration, options, detector=detector, on_progress=on_progress
    )
