#!/usr/bin/env bash
# Builds the tools into their folders (tools/NAME/NAME.wasm), writes their digests into tools/digests.txt and packs
# tools/bundle.xz, as channels/build.sh does for channels.
#
#   tools/build.sh            all of them
#   tools/build.sh notes      only these
PLACE=tools exec "$(dirname "$0")/../channels/build.sh" "$@"
