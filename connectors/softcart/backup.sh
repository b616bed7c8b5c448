#!/bin/sh
# Backs up the softcart databases into a folder, and keeps as many days as it is told.
#
#   backup.sh FOLDER [DAYS]        DAYS: 14 unless given
#
# By schedule, each night at half past two (crontab of the database's host):
#   30 2 * * *  /opt/headrace/connectors/softcart/backup.sh /var/backups/softcart
#
# The user and password come from the [client] section of ~/.my.cnf (mode 0600) or the file that MYSQL_OPTIONS names,
# never from the command line. A file appears under its name only when it is whole. It holds one moment of all tables
# and names the binlog position of it. To restore: gunzip < FILE | mariadb -u root
set -eu
folder=${1:?"usage: backup.sh FOLDER [DAYS]"}
days=${2:-14}
file="$folder/softcart-$(date -u +%Y-%m-%dT%H%M%SZ).sql.gz"
mkdir -p "$folder"
umask 077
trap 'rm -f "$file.unfinished" "$file.sql"' EXIT
mariadb-dump --defaults-extra-file="${MYSQL_OPTIONS:-$HOME/.my.cnf}" --single-transaction --master-data=2 --gtid \
    --routines --events --triggers --hex-blob --tz-utc --databases sales inventory > "$file.sql"
tail -n 1 "$file.sql" | grep -q '^-- Dump completed'
gzip -c "$file.sql" > "$file.unfinished"
mv "$file.unfinished" "$file"
find "$folder" -name 'softcart-*.sql.gz' -mtime "+$days" -delete
echo "$file"
