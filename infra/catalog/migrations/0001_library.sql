-- The library. Times in media are seconds (float8) on the asset's clock; boxes are float4[4] xyxy in pixels of the upright picture;
-- vectors are little-endian float32 bytes. Per-frame data lives in artifacts, not in rows.

CREATE TABLE collection (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    identify       boolean NOT NULL DEFAULT true,     -- false: no identification in this collection
    retention_days integer CHECK (retention_days > 0),
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE model (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role       text NOT NULL,
    name       text NOT NULL,
    sha256     text NOT NULL,
    added_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (role, sha256)
);

-- One media file by content. `state`: new (known, not analysed), done, failed (reason, retryable), quarantined (reason).
CREATE TABLE asset (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256         text NOT NULL UNIQUE CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    name           text NOT NULL,                     -- of its first location, by name
    collection_id  bigint REFERENCES collection ON DELETE SET NULL,
    size           bigint NOT NULL,
    state          text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'done', 'failed', 'quarantined')),
    reason         text,
    retryable      boolean NOT NULL DEFAULT false,
    attempts       integer NOT NULL DEFAULT 0,
    container      text,
    duration       float8,
    width          integer,                           -- NULL without a picture
    height         integer,
    frame_rate     float8,
    video_start    float8,
    start_timecode text,
    audio_track    integer,                           -- stream index of the chosen sound, NULL without sound
    models         jsonb NOT NULL DEFAULT '{}',       -- role -> {name, sha256}
    settings       jsonb NOT NULL DEFAULT '{}',
    analysis_key   text,                              -- artifact of the whole analysis
    plan_digest    text,                              -- what was asked for when it was published: another digest means work to do
    content_digest text,                              -- of what was published: the same content is not written again
    recorded_on    date,
    first_seen     timestamptz NOT NULL DEFAULT now(),
    published_at   timestamptz
);
CREATE INDEX asset_name ON asset (name text_pattern_ops);
CREATE INDEX asset_state ON asset (state);

-- Where an asset lies. What is unchanged here (size, version) is not hashed again. `asset_id` NULL: not hashed yet.
CREATE TABLE location (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id bigint NOT NULL REFERENCES collection ON DELETE CASCADE,
    asset_id      bigint REFERENCES asset ON DELETE SET NULL,
    uri           text NOT NULL UNIQUE,
    name          text NOT NULL,                      -- path below the folder, or key in the bucket
    size          bigint NOT NULL,
    version       text NOT NULL,                      -- mtime or etag
    first_seen    timestamptz NOT NULL DEFAULT now(),
    last_seen     timestamptz NOT NULL DEFAULT now(),
    gone_at       timestamptz
);
CREATE INDEX location_asset ON location (asset_id);

CREATE TABLE audio_track (
    asset_id    bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    index       integer NOT NULL,                     -- of the stream in the container
    codec       text NOT NULL,
    channels    integer NOT NULL,
    layout      text NOT NULL,
    sample_rate integer NOT NULL,
    language    text,
    title       text,
    is_default  boolean NOT NULL,
    start       float8 NOT NULL,
    duration    float8 NOT NULL,
    PRIMARY KEY (asset_id, index)
);

CREATE TABLE shot (
    asset_id bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    number   integer NOT NULL,                        -- from 0, by time
    start    float8 NOT NULL,
    "end"    float8 NOT NULL,
    PRIMARY KEY (asset_id, number)
);

CREATE TABLE asset_span (
    asset_id bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    kind     text NOT NULL,                           -- speech, bars, slate, black, silence, credits, music
    start    float8 NOT NULL,
    "end"    float8 NOT NULL,
    PRIMARY KEY (asset_id, kind, start)
);

-- A person of the library. The id is minted once, for the face at the anchor, and never given to another.
CREATE TABLE person (
    id           text PRIMARY KEY,
    minted_order bigint GENERATED ALWAYS AS IDENTITY,
    anchor_asset text NOT NULL,
    anchor_time  float8 NOT NULL,
    anchor_box   float8[4] NOT NULL,
    name         text,
    hidden       boolean NOT NULL DEFAULT false,
    active       boolean NOT NULL DEFAULT true,       -- false: nobody's id now (see person_alias), or its assets are gone
    minted_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX person_name ON person (lower(name));

CREATE TABLE person_alias (
    alias     text PRIMARY KEY REFERENCES person ON DELETE CASCADE,
    person_id text NOT NULL REFERENCES person ON DELETE CASCADE
);

-- One human within one asset: p1, p2 …
CREATE TABLE asset_person (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id     bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    people_id    text NOT NULL,
    person_id    text REFERENCES person ON DELETE SET NULL,   -- NULL: an honest unknown
    identifiable boolean NOT NULL,
    anchor_time  float8 NOT NULL,
    anchor_box   float8[4] NOT NULL,
    together     text[] NOT NULL,                     -- people of this asset seen in one frame with this one
    sightings    bytea NOT NULL,                      -- (A, 6) float64: track number, time, box
    talk_time    float8 NOT NULL,
    screen_time  float8 NOT NULL,
    UNIQUE (asset_id, people_id)
);
CREATE INDEX asset_person_person ON asset_person (person_id);

CREATE TABLE prototype (
    asset_person_id bigint NOT NULL REFERENCES asset_person ON DELETE CASCADE,
    model_id        bigint NOT NULL REFERENCES model,
    number          integer NOT NULL,
    vector          bytea NOT NULL,
    support         real NOT NULL,
    PRIMARY KEY (asset_person_id, model_id, number)
);

CREATE TABLE track (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id        bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    track_id        text NOT NULL,                    -- t1, t2 …
    number          integer NOT NULL,                 -- from 0, in the order of the analysis
    asset_person_id bigint REFERENCES asset_person ON DELETE SET NULL,
    shot            integer NOT NULL,
    start           float8 NOT NULL,
    "end"           float8 NOT NULL,
    still           boolean NOT NULL,
    best_time       float8,                           -- of its best chip
    best_box        float4[4],
    best_quality    real,
    thumbnail       bytea,                            -- of its best chip, PNG or JPEG
    UNIQUE (asset_id, track_id)
);
CREATE INDEX track_person ON track (asset_person_id);

-- The id is the number of the vector in the index. `vectors` (K, D): one a chip; `vector` (D): what is indexed.
CREATE TABLE track_embedding (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    track_pk  bigint NOT NULL REFERENCES track ON DELETE CASCADE,
    model_id  bigint NOT NULL REFERENCES model,
    dimension integer NOT NULL,
    vector    bytea NOT NULL,
    vectors   bytea NOT NULL,
    quality   bytea NOT NULL,
    UNIQUE (track_pk, model_id)
);

-- Stretches in which a person is seen: the union of their tracks.
CREATE TABLE appearance (
    asset_person_id bigint NOT NULL REFERENCES asset_person ON DELETE CASCADE,
    start           float8 NOT NULL,
    "end"           float8 NOT NULL,
    PRIMARY KEY (asset_person_id, start)
);

CREATE TABLE turn (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id        bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    number          integer NOT NULL,                 -- from 0, by time
    start           float8 NOT NULL,
    "end"           float8 NOT NULL,
    asset_person_id bigint REFERENCES asset_person ON DELETE SET NULL,
    voice_id        text,
    on_screen       boolean NOT NULL,
    confidence      real NOT NULL,
    audio_track     integer,
    parts           jsonb NOT NULL,                   -- [{start, end, track_id}]
    UNIQUE (asset_id, number)
);
CREATE INDEX turn_person ON turn (asset_person_id);

CREATE TABLE voice_embedding (
    asset_id bigint NOT NULL REFERENCES asset ON DELETE CASCADE,
    voice_id text NOT NULL,
    model_id bigint NOT NULL REFERENCES model,
    vector   bytea NOT NULL,
    PRIMARY KEY (asset_id, voice_id, model_id)
);

-- What users have said; append-only. Facts refer to faces in the media (anchors), never to ids.
CREATE TABLE correction (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- facts act in this order
    id      text NOT NULL UNIQUE,
    kind    text NOT NULL CHECK (kind IN ('rename', 'merge', 'undo', 'split', 'reassign', 'not_same', 'hide', 'verify', 'thumbnail',
                                          'correct_turn', 'enrol', 'forget')),
    anchors jsonb NOT NULL,                           -- [{asset, time, box}]
    value   text,
    who     text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'corrections are append-only: undo is a correction too';
END $$;
CREATE TRIGGER correction_append_only BEFORE UPDATE OR DELETE ON correction FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE run (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,                         -- ingest, analyse, retry …
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'stopped')),
    arguments  jsonb NOT NULL DEFAULT '{}',
    summary    jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE stage_run (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     bigint REFERENCES run ON DELETE CASCADE,
    asset_id   bigint REFERENCES asset ON DELETE CASCADE,
    stage      text NOT NULL,
    span       text NOT NULL DEFAULT '',
    key        text NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('made', 'cached', 'failed')),
    started_at timestamptz NOT NULL DEFAULT now(),
    seconds    float8 NOT NULL,
    bytes      bigint,
    attempt    integer NOT NULL DEFAULT 1,
    error      text
);
CREATE INDEX stage_run_asset ON stage_run (asset_id, stage);
CREATE INDEX stage_run_run ON stage_run (run_id);

-- Files that nothing can be made of. `sha256` NULL: not even readable.
CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uri         text NOT NULL,
    name        text NOT NULL,
    sha256      text,
    error       text NOT NULL,                        -- class of the error
    reason      text NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz
);
CREATE UNIQUE INDEX quarantine_open ON quarantine (uri) WHERE released_at IS NULL;

CREATE TABLE opt_out (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    salt     bytea NOT NULL,
    print    bytea NOT NULL,                          -- salted, not invertible to a picture
    model_id bigint NOT NULL REFERENCES model,
    added_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE search_audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    who        text NOT NULL,
    kind       text NOT NULL,                         -- image, person, name …
    parameters jsonb NOT NULL DEFAULT '{}',           -- thresholds and filters; never the photo
    hits       integer NOT NULL
);

-- What happened to the vectors, in the order in which it was committed (publishing is serialised): an index that stands at `id` applies
-- what comes after. A removed vector is in no other table any more.
CREATE TABLE index_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id  bigint NOT NULL REFERENCES model,
    vector_id bigint NOT NULL,
    action    text NOT NULL CHECK (action IN ('add', 'remove')),
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX index_log_model ON index_log (model_id, id);

CREATE TABLE webhook (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url       text NOT NULL UNIQUE,
    secret    text NOT NULL,
    events    text[] NOT NULL,
    active    boolean NOT NULL DEFAULT true,
    added_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_token (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    digest     bytea NOT NULL UNIQUE,                 -- of the token: the token itself is shown once and not kept
    made_at    timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    revoked_at timestamptz
);

-- ---- public views: dashboards build on them; columns are added, never changed ----

CREATE VIEW who_spoke_when AS
SELECT c.name AS collection, a.name AS asset, a.sha256 AS asset_sha256, t.start, t."end", t."end" - t.start AS seconds,
       p.id AS person_id, p.name AS person, ap.people_id, t.voice_id, t.on_screen, t.confidence, t.audio_track,
       coalesce(a.recorded_on, (a.first_seen AT TIME ZONE 'UTC')::date) AS day
FROM turn t
JOIN asset a ON a.id = t.asset_id AND a.state = 'done'
LEFT JOIN collection c ON c.id = a.collection_id
LEFT JOIN asset_person ap ON ap.id = t.asset_person_id
LEFT JOIN person p ON p.id = ap.person_id;

CREATE VIEW airtime_by_person_day AS
WITH seen AS (
    SELECT ap.person_id, a.collection_id, coalesce(a.recorded_on, (a.first_seen AT TIME ZONE 'UTC')::date) AS day,
           count(DISTINCT a.id) AS assets, sum(ap.talk_time) AS talk_time, sum(ap.screen_time) AS screen_time,
           sum((SELECT count(*) FROM turn t WHERE t.asset_person_id = ap.id)) AS turns
    FROM asset_person ap
    JOIN asset a ON a.id = ap.asset_id AND a.state = 'done'
    WHERE ap.person_id IS NOT NULL
    GROUP BY 1, 2, 3
)
SELECT c.name AS collection, s.day, p.id AS person_id, p.name AS person, s.assets, s.turns, s.talk_time, s.screen_time
FROM seen s
JOIN person p ON p.id = s.person_id
LEFT JOIN collection c ON c.id = s.collection_id;

CREATE VIEW co_appearance AS
SELECT least(l.person_id, r.person_id) AS person_a, greatest(l.person_id, r.person_id) AS person_b, a.name AS asset, a.sha256 AS asset_sha256,
       sum(least(x."end", y."end") - greatest(x.start, y.start)) AS seconds
FROM asset_person l
JOIN asset_person r ON r.asset_id = l.asset_id AND r.id > l.id AND r.person_id <> l.person_id
JOIN asset a ON a.id = l.asset_id AND a.state = 'done'
JOIN appearance x ON x.asset_person_id = l.id
JOIN appearance y ON y.asset_person_id = r.id AND y.start < x."end" AND x.start < y."end"
GROUP BY 1, 2, 3, 4;
