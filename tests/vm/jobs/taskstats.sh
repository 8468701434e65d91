#!/bin/bash
# What a sensor tells that asks taskstats for delays.
cd "$(dirname "$0")" || exit 1
exec ./delays.sh --taskstats
