#!/bin/sh
# Makes the role as which Grafana reads, when the database is made. What it may read is given by insights at its start.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$DASHBOARDS_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE measures_reader LOGIN PASSWORD :'password';
SQL
