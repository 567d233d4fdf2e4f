#!/usr/bin/env bash
# Install the daemons that tests/slurm/cluster.py starts, from Debian's packages; without root, or elsewhere, say so and go on.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
packages=(slurmctld slurmd slurmdbd slurm-client munge mariadb-server)
missing=
for program in slurmctld slurmd slurmdbd sbatch munged mariadbd; do
  command -v "$program" >/dev/null || missing=yes
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "tests of SLURM will be skipped: as root, on Debian, this installs ${packages[*]}"
  exit 0
fi
# Packages start their daemons, unless this file says no; these daemons are not wanted: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -qq --no-install-recommends "${packages[@]}"; } >/dev/null ||
  echo "tests of SLURM will be skipped: ${packages[*]} could not be installed"
