# Writes a file of standard input, in base64, that only root can read. Reads: path (its argument).
set -eu
place() {
  (
    umask 077
    mkdir -p "$(dirname "$1")"
    base64 -d >"$1.part"
  )
  mv -f "$1.part" "$1"
}
