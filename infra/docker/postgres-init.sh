#!/bin/sh
# Databases and roles, when the cluster is made: Rollcall's and Prefect's apart, and one role that may read the public views and nothing else
# (the migrations grant them to it). Passwords come from the environment and stand on no command line.
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv rollcall ROLLCALL_DATABASE_PASSWORD
\getenv prefect PREFECT_DATABASE_PASSWORD
\getenv reader ROLLCALL_READER_PASSWORD
CREATE ROLE rollcall LOGIN PASSWORD :'rollcall';
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE ROLE rollcall_reader LOGIN PASSWORD :'reader';
ALTER ROLE rollcall_reader SET default_transaction_read_only = on;
ALTER ROLE rollcall_reader SET statement_timeout = '30s';
CREATE DATABASE rollcall OWNER rollcall;
CREATE DATABASE prefect OWNER prefect;
REVOKE CONNECT ON DATABASE rollcall, prefect, postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE rollcall TO rollcall_reader;
SQL
