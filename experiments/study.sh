# What the scripts of studies share; each sources it: where it lies, where its results go, how many run at a time.
# JOBS=2 runs two trainings at a time, each on one thread. A result that lies in results/ is not measured again.
set -euo pipefail
export here=$(dirname "$(realpath "$0")")
jobs=${JOBS:-1}
if [ "$jobs" -gt 1 ]; then export OMP_NUM_THREADS=1; fi
mkdir -p "$here/results"
export PYTHONPATH=$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH} # of study.py
