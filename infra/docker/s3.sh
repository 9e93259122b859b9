#!/bin/sh
# SeaweedFS as one process, with one identity from the environment: its key is written where only this container sees it.
set -eu
umask 077
printf '{"identities": [{"name": "rollcall", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}\n' \
    "$S3_ACCESS_KEY" "$S3_SECRET_KEY" > /tmp/s3.json
exec weed server -dir=/data -ip=s3 -ip.bind=0.0.0.0 -master.volumeSizeLimitMB=4096 -s3 -s3.port=8333 -s3.config=/tmp/s3.json
