-- Run once, by the postgres image, on an empty data directory: a database for each server, which
-- no other server's user may connect to.

\getenv dagster_password DAGSTER_PASSWORD
CREATE ROLE dagster LOGIN PASSWORD :'dagster_password';
CREATE DATABASE dagster OWNER dagster;
REVOKE ALL ON DATABASE dagster FROM PUBLIC;

\getenv lakefs_password LAKEFS_PASSWORD
CREATE ROLE lakefs LOGIN PASSWORD :'lakefs_password';
CREATE DATABASE lakefs OWNER lakefs;
REVOKE ALL ON DATABASE lakefs FROM PUBLIC;

\getenv mlflow_password MLFLOW_PASSWORD
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE mlflow FROM PUBLIC;
